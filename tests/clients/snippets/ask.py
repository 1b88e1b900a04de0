import json, sys, zmq

edge = zmq.Context().socket(zmq.DEALER)
edge.linger, edge.rcvtimeo = 0, 3000
edge.connect("tcp://127.0.0.1:5563")

def ask(topic, payload=b"", **meta):
    edge.send_multipart([topic, payload, json.dumps(meta).encode()])
    try:
        print(edge.recv().decode())
    except zmq.Again:
        sys.exit("nobody answers at tcp://127.0.0.1:5563")

ask(b"news", b"hello", rid=1)
ask(b"$cmd", b"hello", op="broadcast", channels=["news", "sport"])
ask(b"$cmd", b"you have mail", op="user", user="42")
ask(b"$cmd", b"maintenance at noon", op="all")
ask(b"$cmd", op="subscribe", user="42", channels=["sport"])
ask(b"$cmd", op="subscribe", user="42", channels=["game"], data='{"seat":7}', expires_at=1893456000)
ask(b"$cmd", op="unsubscribe", user="42", channels=["sport"], device="phone")
ask(b"$cmd", op="disconnect", user="42", code=4500, reason="signed out")
