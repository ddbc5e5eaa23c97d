/** A scan by hand, as a new device sees it: the provisioning socket, the link, the phone's answer opened. */
import { createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { hkdf, PrivateKey, PublicKey } from '@signalapp/libsignal-client';
import { uuidFromBytes } from '../../src/address.ts';
import { copy, decodeProto, toBase64 } from '../../src/bytes.ts';
import type { DevServer } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { signal } from '../../src/proto/messages.js';
import { RawSocket } from './raw-client.ts';

/** What a scan has given, before the link request. */
export interface Provisioned {
  readonly message: signal.ProvisionMessage;
  readonly aci: string;
  /** The phone's side of the scan; rejects when the link came to nothing. */
  readonly scanned: Promise<number>;
}

/** Opens a provisioning socket, shows the link to the phone, takes the answer in. */
export async function provision(
  server: DevServer,
  phone: Pick<Phone, 'link'>,
  options: { ignoreLimit?: boolean } = {},
): Promise<Provisioned> {
  const ephemeral = PrivateKey.generate();
  const socket = await RawSocket.open(server.url, { path: '/v1/websocket/provisioning/' });
  const { body } = await socket.delivery(0, '/v1/address');
  const address = decodeProto(signal.ProvisioningAddress, body, 'address').address ?? '';
  const key = encodeURIComponent(toBase64(ephemeral.getPublicKey().serialize()));
  const url = `sgnl://linkdevice?uuid=${encodeURIComponent(address)}&pub_key=${key}&capabilities=`;
  const scanned = phone.link(url, options);
  scanned.catch(() => undefined);
  const delivered = await Promise.race([socket.delivery(0, '/v1/message'), scanned]);
  if (typeof delivered === 'number') throw new Error('linked before the envelope came');
  await socket.closed;
  const envelope = decodeProto(signal.ProvisionEnvelope, delivered.body, 'provision envelope');
  const message = openProvisioning(ephemeral, envelope);
  return { message, aci: uuidFromBytes(message.aciBinary ?? new Uint8Array(0)), scanned };
}

function openProvisioning(
  ephemeral: PrivateKey,
  envelope: signal.ProvisionEnvelope,
): signal.ProvisionMessage {
  const shared = ephemeral.agree(PublicKey.deserialize(copy(envelope.publicKey ?? new Uint8Array(0))));
  const keys = hkdf(64, shared, new TextEncoder().encode('TextSecure Provisioning Message'), null);
  const body = envelope.body ?? new Uint8Array(0);
  const mac = createHmac('sha256', keys.subarray(32)).update(body.subarray(0, -32)).digest();
  if (body[0] !== 1 || !timingSafeEqual(mac, body.subarray(-32))) throw new Error('wrong MAC');
  const decipher = createDecipheriv('aes-256-cbc', keys.subarray(0, 32), body.subarray(1, 17));
  const plain = Buffer.concat([decipher.update(body.subarray(17, -32)), decipher.final()]);
  return decodeProto(signal.ProvisionMessage, plain, 'provision message');
}
