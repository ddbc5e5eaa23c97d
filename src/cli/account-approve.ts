/**
 * `account approve`: what scanning a code on the phone is, for an account without one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ApprovedDevice } from '../account/approve.ts';
import { callAccount } from './account.ts';
import { oneLine } from './io.ts';
import { wholeNumber, withAccount, withExamples, type AccountOptions } from './options.ts';
import type { Shell } from './shell.ts';

interface ApproveOptions extends AccountOptions {
  readonly wait: number;
}

/** How long the new device's questions are answered. */
const ANSWER_MS = 5_000;

export function addApprove(group: Command, shell: Shell): void {
  const command = withAccount(
    group
      .command('approve')
      .description('let a new device link to the account')
      .argument('<link>', 'as the new device shows it: sgnl://linkdevice?uuid=...&pub_key=...')
      .option('--wait <seconds>', 'how long the new device may take', wholeNumber(1, 600), 120),
  );
  withExamples(
    command,
    "account approve 'sgnl://linkdevice?uuid=...&pub_key=...' --server server.json --data ./phone",
  ).action(async (link: string, options: ApproveOptions) => {
    const call = { call: 'approve' as const, link, waitMs: options.wait * 1_000 };
    const shown = new Set<object>();
    const show = (answered: object): void => {
      const { deviceId, name } = answered as ApprovedDevice;
      const called = name === null ? '' : `, "${oneLine(name)}"`;
      shell.printer(options).print({ deviceId, name }, () => `linked device ${String(deviceId)}${called}`);
      shown.add(answered);
    };
    const answered = await callAccount(shell, options, call, {
      linger: async (result) => {
        show(result);
        await sleep(ANSWER_MS, undefined, { signal: shell.io.signal }).catch(() => undefined);
      },
    });
    if (!shown.has(answered)) show(answered); // by account receive, which answers the new device's questions by itself
  });
}
