import { Push } from "zeromq";

const edge = new Push();
edge.connect("tcp://127.0.0.1:5560");
await edge.send(["news", "hello"]);
