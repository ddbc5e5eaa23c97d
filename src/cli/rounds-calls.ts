/**
 * The calls of `rounds …`, answered from the rows. What an abort leaves for the others is sent by the bot that runs, or by
 * the command itself, which goes online for it.
 */
import { z } from 'zod';
import type { Platform } from '../platform.ts';
import { abortCeremony, listCeremonies, showCeremony } from '../rounds/operator.ts';
import type { Store } from '../store/store.ts';

export const roundsCalls = [
  z.object({ call: z.literal('rounds list') }),
  z.object({ call: z.literal('rounds show'), id: z.string() }),
  z.object({ call: z.literal('rounds abort'), id: z.string(), reason: z.string() }),
] as const;

export type RoundsCall = z.infer<(typeof roundsCalls)[number]>;

/** @throws BotError `ROW_UNKNOWN`, `CEREMONY_ENDED`, `USAGE`, `NOT_LINKED` */
export async function answerRounds(
  { store, platform }: { readonly store: Store; readonly platform: Platform },
  call: RoundsCall,
  sending: () => { stamp(): number; ring(): void },
): Promise<object> {
  switch (call.call) {
    case 'rounds list':
      return listCeremonies(store);
    case 'rounds show':
      return showCeremony(store, call.id);
    case 'rounds abort': {
      const bot = sending();
      const parts = { store, now: () => platform.clock.now(), stamp: () => bot.stamp() };
      const ended = await abortCeremony(parts, call.id, call.reason);
      bot.ring();
      return ended;
    }
  }
}
