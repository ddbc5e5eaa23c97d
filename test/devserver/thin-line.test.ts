import { afterEach, describe, expect, it } from 'vitest';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { RawDevice, textContent } from '../support/raw-device.ts';

describe('the development server', () => {
  let server: DevServer;
  afterEach(async () => {
    await server.close();
  });

  it.each(['jun25', 'dec25', 'aug26'] as const)(
    'links a device and passes texts both ways in %s',
    async (dialect) => {
      server = await startDevServer({ dialect });
      const phone = await server.createPhone({ name: 'Ada' });
      const other = await server.createPhone();
      const device = await RawDevice.link(server, phone);
      expect(device.deviceId).toBe(2);

      const socket = await device.connect();
      await socket.delivery(0, '/api/v1/queue/empty');
      await other.send(phone.aci, 'hello');
      await other.send(phone.aci, 'sealed', { sealed: true });
      expect((await device.open(await socket.envelope(0))).dataMessage?.body).toBe('hello');
      expect((await device.open(await socket.envelope(1))).dataMessage?.body).toBe('sealed');
      expect((await socket.envelope(1)).sourceDevice).toBeNull();
      expect((await phone.messages({ count: 2, waitMs: 20_000 })).map(({ text }) => text)).toEqual([
        'hello',
        'sealed',
      ]);

      const timestamp = Date.now();
      const message = await device.encrypt(socket, other.aci, 1, textContent('back', timestamp));
      const answer = await socket.request('PUT', `/v1/messages/${other.aci}`, {
        json: { messages: [message], online: false, urgent: true, timestamp },
      });
      expect(answer).toMatchObject({ status: 200, json: { needsSync: true } });
      expect(await other.messages({ count: 1, waitMs: 20_000 })).toEqual([
        { from: phone.aci, device: 2, kind: 'text', text: 'back', timestamp },
      ]);
      await socket.close();
    },
  );
});
