import { expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { memoryIo } from '../support/memory-io.ts';

it('shows an interception that works, is proven by a run, and healed by it', async () => {
  const io = memoryIo();
  const code = await main(['demo', '--attack', '--json'], io);
  expect(io.err()).toBe('');
  expect(code).toBe(0);
  const steps = io.lines();
  expect(steps.map(({ step }) => step)).toEqual([
    ...['ready', 'ready', 'attack', 'text', 'text', 'overheard', 'code', 'proven', 'proven', 'verified'],
    ...['text', 'private', 'done'],
  ]);
  expect(steps.find(({ step }) => step === 'overheard')).toMatchObject({
    texts: ['the plan is in the red folder', 'thank you'],
  });
  expect(steps.find(({ step }) => step === 'verified')?.['check']).toMatch(/^\d{6}$/);
});
