import WebSocket from "ws"; // built in from Node 22 on, and in browsers

const socket = new WebSocket("ws://127.0.0.1:8000/websocket/42?channels=news");
socket.onmessage = (message) => console.log(message.data);
