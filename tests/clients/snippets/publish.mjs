import { Push } from "zeromq";

const edge = new Push({ immediate: true, sendTimeout: 3000 });
edge.connect("tcp://127.0.0.1:5560");
await edge.send(["news", "hello"]).catch(() => {
  console.error("nobody is at tcp://127.0.0.1:5560");
  process.exit(1);
});
