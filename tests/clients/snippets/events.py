import json, zmq

edge = zmq.Context().socket(zmq.SUB)
edge.connect("tcp://127.0.0.1:5564")
edge.subscribe("$event.")
while True:
    topic, payload, meta = edge.recv_multipart()
    print(topic.decode(), json.loads(meta).get("user"), payload, flush=True)
