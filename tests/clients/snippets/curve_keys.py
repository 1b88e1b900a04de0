import pathlib, zmq

for name in ["edge", "shop"]:
    public, secret = zmq.curve_keypair()
    pathlib.Path(f"{name}.public").write_bytes(public)
    path = pathlib.Path(f"{name}.secret")
    path.touch(mode=0o600)
    path.write_bytes(secret)
