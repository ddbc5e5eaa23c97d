/**
 * Sealed sender turned off by a profile that names trust roots all the same.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Profile } from '../../src/service/profile.ts';
import { isExternal, received, Scene, type RunningBot } from '../support/scene.ts';

let scene: Scene;
let bot: RunningBot;
const sealed: boolean[] = [];

beforeAll(async () => {
  scene = await Scene.start();
  const profile: Profile = { ...scene.profile, sealedSender: { ...scene.profile.sealedSender, mode: 'off' } };
  bot = await scene.bot(
    (it) => {
      it.handle((on) => {
        on.text(/^ping$/, (ctx) => {
          sealed.push(ctx.sealed);
          ctx.reply('pong');
        });
      });
    },
    { profile },
  );
});

afterAll(async () => {
  await scene.close();
});

it('a bot reads and answers what others seal', async () => {
  const phone = await scene.phone();
  // A headless primary seals once the first answer has told it the profile key.
  const expected = isExternal ? [false, true] : [true];
  for (let n = 1; n <= expected.length; n++) {
    await phone.send(bot.aci, 'ping', { sealed: true });
    const texts = await received(phone, 'text', n);
    expect(texts).toHaveLength(n);
    expect(texts.at(-1)).toMatchObject({ text: 'pong', from: bot.aci });
  }
  expect(sealed).toEqual(expected);
});
