curl -H 'Content-Type: application/json' -d '{"channel": "news", "data": "hello"}' \
  http://127.0.0.1:9000/api/publish
