/** The example of docs/rounds.md, run as it stands: its tests are these. */
import { expect, test, vi } from 'vitest';
import { blocks, readDocument } from '../house/documents.ts';
import '../../docs/examples/coin-toss.test.ts';

// The examples import the package by its name, as users do.
vi.mock('countersign/testing', () => import('../../src/testing.ts'));

test('is shown in docs/rounds.md', () => {
  expect(blocks(readDocument('docs/rounds.md'), 'ts')).toContain(
    readDocument('docs/examples/coin-toss.test.ts'),
  );
});
