/**
 * A relay that knows nothing: it pairs two WebSockets that name the same room, and forwards bytes. It sees sizes and times;
 * who the two are, and what they say, is sealed.
 */
import { WebSocketServer, type WebSocket } from 'ws';

const MAX_MESSAGE_BYTES = 128 * 1024;

/** @param port 0 for any that is free */
export function openRelay(port: number): WebSocketServer {
  const waiting = new Map<string, WebSocket>();
  const server = new WebSocketServer({ port, host: '127.0.0.1', maxPayload: MAX_MESSAGE_BYTES });
  server.on('connection', (socket, request) => {
    const room = String(request.url);
    socket.on('error', () => {
      socket.terminate();
    });
    const other = waiting.get(room);
    if (other === undefined) {
      waiting.set(room, socket);
      socket.pause(); // what it sends stays where it is until there is somebody to send it to
      socket.on('close', () => {
        if (waiting.get(room) === socket) waiting.delete(room);
      });
      return;
    }
    waiting.delete(room);
    forward(socket, other);
    forward(other, socket);
    other.resume();
  });
  return server;
}

function forward(from: WebSocket, to: WebSocket): void {
  from.on('message', (data, isBinary) => {
    to.send(data, { binary: isBinary });
  });
  from.on('close', () => {
    to.close();
  });
}
