import zmq

edge = zmq.Context().socket(zmq.PUSH)
edge.connect("tcp://127.0.0.1:5560")
edge.send_multipart([b"news", b"hello"])
