import pathlib, zmq

edge = zmq.Context().socket(zmq.DEALER)
edge.curve_publickey = pathlib.Path("shop.public").read_bytes()
edge.curve_secretkey = pathlib.Path("shop.secret").read_bytes()
edge.curve_serverkey = pathlib.Path("edge.public").read_bytes()
edge.connect("tcp://127.0.0.1:5563")
edge.send_multipart([b"news", b"hello"])
print(edge.recv())
