import { PrivateKey } from '@signalapp/libsignal-client';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { signal } from '../../src/proto/messages.js';
import { decryptDeviceName } from '../../src/session/device-name.ts';
import { parseLinkUrl } from '../../src/session/link-url.ts';
import { parseProvisionMessage } from '../../src/session/provision-message.ts';
import { openProvisionEnvelope } from '../../src/session/provisioning-cipher.ts';
import { openAttachment, parseContactList } from '../../src/upkeep/contact-stream.ts';
import { phoneAccount, provisionMessage, seal } from '../provisioning/seal.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);
/** ms: a slow machine takes some ms for one case. */
const timeout = 30_000 + 10 * numRuns;
const key = PrivateKey.generate();
const phone = phoneAccount();

/** Whatever comes in, only coded errors come out. */
function onlyCoded(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof BotError)) throw error;
  }
}

const bytes = fc.uint8Array({ maxLength: 300 });
const optionalBytes = fc.option(fc.oneof(bytes, fc.uint8Array({ minLength: 16, maxLength: 33 })), {
  nil: null,
});
const optionalText = fc.option(fc.oneof(fc.string(), fc.uuid()), { nil: null });

describe('provisioning under hostile input', { timeout }, () => {
  it('opens any bytes, or any body under a good key, or says with a code why not', () => {
    const publicKey = PrivateKey.generate().getPublicKey().serialize();
    fc.assert(
      fc.property(bytes, fc.boolean(), (body, isWrapped) => {
        const envelope = isWrapped ? signal.ProvisionEnvelope.encode({ publicKey, body }).finish() : body;
        onlyCoded(() => openProvisionEnvelope(key, envelope));
      }),
      { numRuns },
    );
  });

  it('reads any message that is sealed rightly', () => {
    fc.assert(
      fc.property(bytes, (message) => {
        onlyCoded(() => parseProvisionMessage(openProvisionEnvelope(key, seal(message, key.getPublicKey()))));
      }),
      { numRuns },
    );
  });

  it('reads a message whose fields are replaced by others', () => {
    const change = fc.record(
      {
        aciIdentityKeyPublic: optionalBytes,
        aciIdentityKeyPrivate: optionalBytes,
        pniIdentityKeyPublic: optionalBytes,
        pniIdentityKeyPrivate: optionalBytes,
        profileKey: optionalBytes,
        masterKey: optionalBytes,
        aciBinary: optionalBytes,
        pniBinary: optionalBytes,
        aci: optionalText,
        pni: optionalText,
        number: optionalText,
        provisioningCode: optionalText,
        accountEntropyPool: optionalText,
        provisioningVersion: fc.nat(3),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(change, (fields) => {
        const message = signal.ProvisionMessage.encode(provisionMessage(phone, fields)).finish();
        onlyCoded(() => parseProvisionMessage(message));
      }),
      { numRuns },
    );
  });

  it('reads any device name, link, contact list and attachment', () => {
    fc.assert(
      fc.property(bytes, optionalBytes, optionalBytes, fc.string(), (a, b, c, text) => {
        onlyCoded(() => decryptDeviceName(a, phone.identity));
        const name = signal.DeviceName.encode({ ephemeralPublic: b, syntheticIv: c, ciphertext: a }).finish();
        onlyCoded(() => decryptDeviceName(name, phone.identity));
        onlyCoded(() => parseLinkUrl(text));
        onlyCoded(() => parseLinkUrl(`sgnl://linkdevice?uuid=${text}&pub_key=${text}`));
        onlyCoded(() => parseContactList(a));
        onlyCoded(() => openAttachment(a, { key: new Uint8Array(64), digest: new Uint8Array(32), size: 1 }));
      }),
      { numRuns },
    );
  });
});
