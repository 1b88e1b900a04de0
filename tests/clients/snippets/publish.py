import sys, zmq

# Leaving the `with` block waits until the message has left.
with zmq.Context() as context, context.socket(zmq.PUSH) as edge:
    edge.immediate, edge.sndtimeo = True, 3000  # no queue for nobody, and three seconds at most
    edge.connect("tcp://127.0.0.1:5560")
    try:
        edge.send_multipart([b"news", b"hello"])
    except zmq.Again:
        sys.exit("nobody is at tcp://127.0.0.1:5560")
