/**
 * `safety-number`: the digits that both sides read out, for contacts who have no bot to run a verification with.
 */
import type { Command } from 'commander';
import { fromBase64 } from '../bytes.ts';
import { qrKindOf, writeQrFile } from '../provisioning/qr.ts';
import type { SafetyNumberView } from '../trust/operator.ts';
import { callAccount } from './account.ts';
import { withData, withExamples, type AccountOptions } from './options.ts';
import { outputFile } from './output-file.ts';
import type { Shell } from './shell.ts';

type Options = AccountOptions & { readonly qr?: string; readonly compare?: string };

/** Digits of one group, as the official apps show them. */
const GROUP = 5;

export function addSafetyNumber(program: Command, shell: Shell): void {
  const command = withData(
    program
      .command('safety-number')
      .argument('<contact>', 'ACI, number or name')
      .option('--qr <file>', 'write it as .png or .svg, for the scanner of an official app')
      .option(
        '--compare <digits>',
        'all 60 digits that the contact has read out; if they match, it is verified',
      )
      .description('the safety number with a contact'),
  );
  withExamples(
    command,
    'safety-number +12125550100 --data ./data',
    'safety-number +12125550100 --qr number.png --data ./data',
  ).action(async (contact: string, options: Options) => {
    const { compare } = options;
    if (options.qr !== undefined) qrKindOf(options.qr);
    const qr =
      options.qr === undefined ? undefined : await outputFile(shell.io.cwd, options.qr, 'the QR code');
    const call = {
      call: 'safety number' as const,
      contact,
      ...(compare === undefined ? {} : { digits: compare }),
    };
    const found = (await callAccount(shell, options, call)) as SafetyNumberView;
    if (qr !== undefined) await writeQrFile(fromBase64(found.scannable), qr);
    shell.printer(options).print(found, () => textOf(found));
    if (found.match === false) shell.exitCode = 1;
  });
}

function textOf({ digits, candidateDigits, match, state }: SafetyNumberView): string {
  return [
    grouped(digits),
    ...(candidateDigits === undefined ? [] : [`with the key that appeared: ${grouped(candidateDigits)}`]),
    ...(match === undefined ? [] : [match ? matchText(state) : 'it does NOT match']),
  ].join('\n');
}

/** A key that is listed as revoked is not verified by its digits (section 9). */
function matchText(state: SafetyNumberView['state']): string {
  return state === 'verified'
    ? 'it matches: the contact is verified'
    : `it matches, but that key was revoked: the contact is ${state}. If it is theirs after all: countersign trust accept`;
}

function grouped(digits: string): string {
  return (digits.match(new RegExp(`.{1,${String(GROUP)}}`, 'g')) ?? []).join(' ');
}
