import os, time, jwt

secret = os.environ["TIDEGATE_TOKEN__HMAC_SECRET"]
now = int(time.time())
print(jwt.encode({"sub": "42", "iat": now, "exp": now + 600}, secret, "HS256"))
