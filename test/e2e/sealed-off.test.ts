/**
 * Sealed sender turned off by a profile that names trust roots all the same.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Profile } from '../../src/service/profile.ts';
import { received, Scene, type RunningBot } from '../support/scene.ts';

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
  const phone = await scene.server.createPhone();
  await phone.send(bot.aci, 'ping', { sealed: true });
  expect(await received(phone, 'text', 1)).toMatchObject([{ text: 'pong', from: bot.aci }]);
  expect(sealed).toEqual([true]);
});
