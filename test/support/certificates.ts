/** X.509 certificates of any date and name, made here: what a test needs of RFC 5280 and no more. */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

export interface TestCa {
  /** PEM */
  readonly certificate: string;
  issue(options?: IssueOptions): { cert: string; key: string };
}

export interface IssueOptions {
  /** DNS names and IPv4 addresses; default 127.0.0.1. */
  readonly names?: readonly string[];
  readonly from?: Date;
  readonly to?: Date;
}

const DAY_MS = 24 * 60 * 60_000;
const ECDSA_SHA256 = sequence(Buffer.from('06082a8648ce3d040302', 'hex'));
const COMMON_NAME = Buffer.from('0603550403', 'hex');
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex');
const BASIC_CONSTRAINTS = Buffer.from('0603551d13', 'hex');
const TRUE = Buffer.from('0101ff', 'hex');

/** A root that signs itself. */
export function makeCa(name: string, dates: Pick<IssueOptions, 'from' | 'to'> = {}): TestCa {
  const root = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const constraints = sequence(BASIC_CONSTRAINTS, TRUE, der(0x04, sequence(TRUE)));
  const certificate = makeCertificate({
    issuer: name,
    subject: name,
    key: root.publicKey,
    signer: root.privateKey,
    extension: constraints,
    ...dates,
  });
  return {
    certificate,
    issue: ({ names = ['127.0.0.1'], ...options } = {}) => {
      const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const alternatives = names.map((text) =>
        isIP(text) === 4 ? der(0x87, Buffer.from(text.split('.').map(Number))) : der(0x82, Buffer.from(text)),
      );
      const cert = makeCertificate({
        issuer: name,
        subject: names[0] ?? name,
        key: leaf.publicKey,
        signer: root.privateKey,
        extension: sequence(SUBJECT_ALT_NAME, der(0x04, sequence(...alternatives))),
        ...options,
      });
      return { cert, key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string };
    },
  };
}

function makeCertificate(parts: {
  issuer: string;
  subject: string;
  key: KeyObject;
  signer: KeyObject;
  extension: Buffer;
  from?: Date;
  to?: Date;
}): string {
  const from = parts.from ?? new Date(Date.now() - DAY_MS);
  const to = parts.to ?? new Date(Date.now() + 90 * DAY_MS);
  const tbs = sequence(
    der(0xa0, der(0x02, Buffer.of(2))), // version 3
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)])),
    ECDSA_SHA256,
    nameOf(parts.issuer),
    sequence(time(from), time(to)),
    nameOf(parts.subject),
    parts.key.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(parts.extension)),
  );
  const signature = sign('sha256', tbs, parts.signer);
  const whole = sequence(tbs, ECDSA_SHA256, der(0x03, Buffer.concat([Buffer.of(0), signature])));
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function nameOf(text: string): Buffer {
  return sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(text)))));
}

/** GeneralizedTime */
function time(date: Date): Buffer {
  return der(0x18, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`));
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(parts));
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size =
    length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, Math.floor(length / 256), length % 256];
  return Buffer.concat([Buffer.of(tag, ...size), content]);
}
