import zmq

# Leaving the `with` block waits until the message has left.
with zmq.Context() as context, context.socket(zmq.PUSH) as edge:
    edge.connect("tcp://127.0.0.1:5560")
    edge.send_multipart([b"news", b"hello"])
