import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import {
  IDLE,
  MAX_ROTATIONS,
  ROTATE_MS,
  step,
  type LinkEffect,
  type LinkInput,
  type LinkState,
} from '../../src/provisioning/link-machine.ts';

const down = new BotError('SERVER_UNREACHABLE', 'down');

function play(
  inputs: readonly LinkInput[],
  from: LinkState = IDLE,
): { state: LinkState; effects: LinkEffect[] } {
  let state = from;
  const effects: LinkEffect[] = [];
  for (const input of inputs) {
    const next = step(state, input);
    state = next.state;
    effects.push(...next.effects);
  }
  return { state, effects };
}

const opened = (code: number): LinkInput => ({ kind: 'opened', code, address: `address ${String(code)}` });
const timer = (code: number): LinkInput => ({ kind: 'timer', code });

describe('the link machine', () => {
  it('shows a code and starts its timer once the socket has an address', () => {
    const { effects } = play([{ kind: 'start' }, opened(1)]);
    expect(effects).toEqual([
      { kind: 'open', code: 1 },
      { kind: 'show', code: 1, address: 'address 1' },
      { kind: 'timer', code: 1, ms: ROTATE_MS },
    ]);
  });

  it('keeps the old socket for one more rotation, so that a scan at the boundary works', () => {
    const start: LinkInput[] = [{ kind: 'start' }, opened(1), timer(1), opened(2)];
    expect(play([...start, { kind: 'readable', code: 1 }]).state).toEqual({ kind: 'received', code: 1 });
    const third = play([...start, timer(2), opened(3)]);
    expect(third.effects).toContainEqual({ kind: 'close', code: 1 });
    expect(third.state).toMatchObject({ sockets: [2, 3] });
  });

  it('ends after six rotations, and keeps the last code for a late scan first', () => {
    const inputs: LinkInput[] = [{ kind: 'start' }];
    for (let code = 1; code <= MAX_ROTATIONS + 1; code++) inputs.push(opened(code), timer(code));
    const lingering = play(inputs);
    expect(lingering.state).toMatchObject({ kind: 'showing', lingering: true });
    expect(lingering.effects.filter(({ kind }) => kind === 'show')).toHaveLength(7);
    const { state, effects } = play([timer(7)], lingering.state);
    expect(state.kind).toBe('ended');
    expect(effects.at(-1)).toEqual({ kind: 'expire', unreadable: undefined });
  });

  it('replaces a code whose socket the server has closed', () => {
    expect(play([{ kind: 'start' }, opened(1), { kind: 'closed', code: 1 }]).effects.at(-1)).toEqual({
      kind: 'open',
      code: 2,
    });
  });

  it('fails when no code can be had, and tries again while one is open', () => {
    const failed: LinkInput = { kind: 'open-failed', code: 1, error: down };
    expect(play([{ kind: 'start' }, failed]).effects.at(-1)).toEqual({ kind: 'fail', error: down });
    const later = play([
      { kind: 'start' },
      opened(1),
      timer(1),
      { kind: 'open-failed', code: 2, error: down },
    ]);
    expect(later.effects.at(-1)).toMatchObject({ kind: 'timer', code: 2 });
    expect(play([timer(2)], later.state).effects).toEqual([{ kind: 'open', code: 3 }]);
  });

  it('goes on when an answer cannot be used, and names the reason at the end', () => {
    const { state } = play([
      { kind: 'start' },
      opened(1),
      { kind: 'unreadable', code: 1, reason: 'garbled' },
    ]);
    expect(state).toMatchObject({ kind: 'showing', sockets: [1], unreadable: 'garbled' });
  });

  it('closes a socket that comes when all is over', () => {
    const { state } = play([{ kind: 'start' }, opened(1), timer(1), { kind: 'readable', code: 1 }]);
    expect(play([opened(2)], state).effects).toEqual([{ kind: 'close', code: 2 }]);
  });

  const code = fc.integer({ min: 1, max: 8 });
  const anyInput = fc.oneof(
    fc.constant<LinkInput>({ kind: 'start' }),
    fc.record({ kind: fc.constant('opened' as const), code, address: fc.constant('a') }),
    fc.record({ kind: fc.constant('open-failed' as const), code, error: fc.constant(down) }),
    fc.record({ kind: fc.constant('timer' as const), code }),
    fc.record({ kind: fc.constant('readable' as const), code }),
    fc.record({ kind: fc.constant('unreadable' as const), code, reason: fc.constant('r') }),
    fc.record({ kind: fc.constant('closed' as const), code }),
  );

  it('has at most two sockets and seven codes on any walk, and ends once', () => {
    fc.assert(
      fc.property(fc.array(anyInput, { maxLength: 80 }), (inputs) => {
        let state: LinkState = IDLE;
        let opens = 0;
        let ends = 0;
        for (const input of [{ kind: 'start' } as const, ...inputs]) {
          const next = step(state, input);
          state = next.state;
          if (state.kind === 'showing') expect(state.sockets.length).toBeLessThanOrEqual(2);
          opens += next.effects.filter(({ kind }) => kind === 'open').length;
          ends += next.effects.filter(({ kind }) => ['finish', 'expire', 'fail'].includes(kind)).length;
        }
        expect(opens).toBeLessThanOrEqual(7);
        expect(ends).toBeLessThanOrEqual(1);
      }),
      { numRuns: 2000 },
    );
  });
});
