/** The session of a bare run. */
import { describe, expect, it } from 'vitest';
import { fromUtf8 } from '../../../src/bytes.ts';
import { couple, verify } from '../support/party.ts';

describe('the session of a bare run', () => {
  it('loses no step when one text is opened while another is sealed', async () => {
    const [alice, bob] = couple({ mode: 2 });
    await verify(alice, bob);
    for (let i = 0; i < 30; i++) {
      const text = fromUtf8(String(i));
      const fromAlice = await alice.session.seal(text);
      const [opened, ...fromBob] = await Promise.all([
        bob.session.open(fromAlice),
        bob.session.seal(text),
        bob.session.seal(text),
      ]);
      expect(opened).toEqual(text);
      for (const sealed of fromBob) expect(await alice.session.open(sealed)).toEqual(text);
    }
  });
});
