/** Until ended: how whoever has opened a ceremony waits for its end. */
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import { MISMATCH } from './advance.ts';
import { isOpen } from './run.ts';
import type { CeremonyView } from './view.ts';

/** How often it is looked, ms. */
const LOOK_MS = 250;
/** How long a proof of who has lied may come after the end, ms. */
const PROOF_MS = 2_000;

/**
 * @param look undefined: there is no such ceremony
 * @param heldMs how long the others are waited for once the output is held
 * @throws BotError `ROW_UNKNOWN`; the signal's reason
 */
export async function untilEnded(
  look: () => Promise<CeremonyView | undefined>,
  clock: Clock,
  heldMs: number,
  signal: AbortSignal | undefined,
): Promise<CeremonyView> {
  let until = Infinity;
  let proofUntil: number | undefined;
  for (;;) {
    const view = await look();
    if (view === undefined) throw new BotError('ROW_UNKNOWN', 'there is no such ceremony');
    const now = clock.now();
    if (view.isHeld && until === Infinity) until = now + heldMs;
    const isUnproven = view.end?.reason === MISMATCH && view.blame.length === 0;
    const isOver = isUnproven ? now >= (proofUntil ??= now + PROOF_MS) : !isOpen(view.state) || now >= until;
    if (isOver) return view;
    await clock.sleep(LOOK_MS, signal);
  }
}
