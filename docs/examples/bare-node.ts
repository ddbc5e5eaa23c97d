/** One of two programs that verify each other in a room of the relay: `bare-node.ts ws://HOST:PORT/ROOM [CODE]`. */
import { overWebSocket, verifyBare } from 'countersign/verify';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

const [room = 'ws://127.0.0.1:8080/room', code] = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const create = (spoken: string): void => {
  say(`Read out: ${spoken}`);
};

const peer = await verifyBare(overWebSocket(new WebSocket(room)), code === undefined ? { create } : { code });
say(`Verified. Both see ${String(peer.check)}.`);
const lines = createInterface(process.stdin);
const speaking = (async () => {
  for await (const line of lines) await peer.send(line);
  await peer.end();
})();
for await (const text of peer.texts()) say(`> ${text}`);
lines.close();
await speaking;
await peer.close();
