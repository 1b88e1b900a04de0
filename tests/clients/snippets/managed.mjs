import { Centrifuge } from "centrifuge";
import WebSocket from "ws"; // built in from Node 22 on, and in browsers

const url = "ws://127.0.0.1:8000/connection/websocket";
const client = new Centrifuge(url, { websocket: WebSocket });
const news = client.newSubscription("news");
news.on("publication", (message) => console.log(message.data));
news.subscribe();
client.connect();
