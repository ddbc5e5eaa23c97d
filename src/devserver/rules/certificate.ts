/**
 * Sender certificates (protocol brief, section 5.6): the mock's never expire, the Java servers' do after a week, and name the
 * account in the way of their generation. Signed with the mock's own server certificate, which the profile's trust root signs.
 */
import { Writer } from 'protobufjs/minimal.js';
import { uuidToBytes } from '../../address.ts';
import { toBase64 } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';
import { requireDevice, type Answer, type Call } from './rule.ts';

const CERTIFICATE_LIFE_MS = 7 * 86_400_000;

/** The server certificate, private in the mock's types. */
interface Signer {
  readonly certificate: {
    readonly privateKey: { sign(message: Uint8Array): Uint8Array };
    readonly certificate: { readonly certificate: Uint8Array; readonly signature: Uint8Array };
  };
}

/** GET /v1/certificate/delivery: `{certificate}`, with the number unless `includeE164=false`. */
export async function giveCertificate(call: Call): Promise<Answer> {
  const device = requireDevice(call);
  const withNumber = call.query.get('includeE164')?.toLowerCase() !== 'false';
  const { certificate } = call.state.mock.server as unknown as Signer;
  const inner = await writeInner(call.state, device, withNumber);
  const outer = writePair(inner, certificate.privateKey.sign(inner));
  return { status: 200, body: { certificate: toBase64(outer) } };
}

/** `SenderCertificate.Certificate`: 1 number, 2 device, 3 expires, 4 identity key, 5 signer, 6 or 7 account. */
async function writeInner(state: ServerState, device: Device, withNumber: boolean): Promise<Uint8Array> {
  const { certificate } = state.mock.server as unknown as Signer;
  const writer = Writer.create();
  if (withNumber && device.number !== undefined) writer.uint32(tag(1, BYTES)).string(device.number);
  writer.uint32(tag(2, VARINT)).uint32(device.deviceId);
  writer.uint32(tag(3, FIXED64)).fixed64(state.clock.now() + CERTIFICATE_LIFE_MS);
  writer.uint32(tag(4, BYTES)).bytes((await device.getIdentityKey()).serialize());
  const { certificate: signed, signature } = certificate.certificate;
  writer.uint32(tag(5, BYTES)).bytes(writePair(signed, signature));
  if (state.dialect.stringIds) writer.uint32(tag(6, BYTES)).string(device.aci);
  else writer.uint32(tag(7, BYTES)).bytes(uuidToBytes(device.aci));
  return writer.finish();
}

/** Both kinds of certificate: 1 what is signed, 2 signature. */
function writePair(certificate: Uint8Array, signature: Uint8Array): Uint8Array {
  const writer = Writer.create();
  return writer.uint32(tag(1, BYTES)).bytes(certificate).uint32(tag(2, BYTES)).bytes(signature).finish();
}

const [VARINT, FIXED64, BYTES] = [0, 1, 2];

function tag(field: number, wireType: number): number {
  return (field << 3) | wireType;
}
