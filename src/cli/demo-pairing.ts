/**
 * Pairing: verifies BLS signatures with a library that shares no code with the one that makes them. The pairing is mcl's, a
 * development dependency; only the hash of a message to a point is noble's, and that is held against RFC 9380 first.
 * Spec: draft-irtf-cfrg-bls-signature-05 (signatures in G1); RFC 9380, appendix J.9.1.
 */
import { createRequire } from 'node:module';
import { bls12_381 } from '@noble/curves/bls12-381.js';
import type * as Mcl from 'mcl-wasm';
import { fromUtf8, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { checkPackages, PAIRING_PACKAGE } from './demo-packages.ts';

/** Generator of G2 in 96 bytes, hex (draft-irtf-cfrg-pairing-friendly-curves-11, section 4.2.1). */
const GENERATOR =
  '93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e' +
  '024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8';

/** Of RFC 9380; `x` and `y` of the point in hex. */
export const RFC9380_DST = 'QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_';
export const RFC9380_VECTORS = [
  {
    message: '',
    x: '052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1',
    y: '08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265',
  },
  {
    message: 'abc',
    x: '03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903',
    y: '0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d',
  },
] as const;

/**
 * Whether a signature is that of a message under a public key: e(signature, generator) = e(H(message), public key).
 * @param publicKey 96 bytes @param signature 48 bytes
 */
export type VerifyByPairing = (publicKey: Bytes, signature: Bytes, message: Bytes) => boolean;

/**
 * @param require looks mcl up; from here if unsaid
 * @throws BotError `DEVSERVER_MISSING` when it is not installed, `INTERNAL` when the hash is not that of RFC 9380
 */
export async function loadPairing(
  require: NodeJS.Require = createRequire(import.meta.url),
): Promise<VerifyByPairing> {
  checkPackages([PAIRING_PACKAGE], require);
  const mcl = require(PAIRING_PACKAGE) as typeof Mcl;
  await mcl.init(mcl.BLS12_381);
  mcl.setETHserialization(true); // compressed, big-endian
  for (const { message, x, y } of RFC9380_VECTORS) {
    const point = bls12_381.G1.hashToCurve(fromUtf8(message), { DST: RFC9380_DST }).toAffine();
    if (point.x !== BigInt(`0x${x}`) || point.y !== BigInt(`0x${y}`))
      throw new BotError('INTERNAL', 'the hash to G1 is not that of RFC 9380');
  }
  const generator = mcl.deserializeHexStrToG2(GENERATOR);
  return (publicKey, signature, message) => {
    const [made, hashed, key] = [new mcl.G1(), new mcl.G1(), new mcl.G2()];
    try {
      made.deserialize(signature);
      key.deserialize(publicKey);
    } catch {
      return false; // no points of the groups
    }
    if (made.isZero() || key.isZero()) return false;
    hashed.deserialize(bls12_381.shortSignatures.hash(message).toBytes());
    return mcl.pairing(made, generator).isEqual(mcl.pairing(hashed, key));
  };
}
