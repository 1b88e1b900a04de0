// A broadcast server on ws. Usage: node server.js PORT PORT
//
// The loop over `clients` is the broadcast of ws's README. Compression is off by default there, and
// advised against for many connections.

import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

// The default accept queue of 511 would be filled by many handshakes at once.
const listen = (server, port) => {
  server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
};

const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
listen(server, process.argv[2]);

const publications = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) {
    parts.push(part);
  }
  const payload = Buffer.concat(parts);
  for (const client of sockets.clients) {
    if (client.readyState === WebSocket.OPEN) {
      client.send(payload, { binary: true });
    }
  }
  response.writeHead(202).end();
});
listen(publications, process.argv[3]);
