/**
 * `link`: shows a code, and makes this data directory a device of the account whose phone scans it.
 */
import { bareId } from '../inspect.ts';
import { InvalidArgumentError, type Command } from 'commander';
import { link, type LinkEvent } from '../provisioning/link.ts';
import { qrTerminal, writeQrFile } from '../provisioning/qr.ts';
import type { Account } from '../store/rows.ts';
import { checkDeviceName } from '../session/device-name.ts';
import { openOrMakeStore } from './account.ts';
import type { Io, Printer } from './io.ts';
import { serverProfile, withAccount, withExamples, type AccountOptions } from './options.ts';
import { outputFile } from './output-file.ts';
import type { Shell } from './shell.ts';

interface LinkOptions extends AccountOptions {
  readonly name: string;
  readonly qr?: string;
}

export function addLink(program: Command, shell: Shell): void {
  const command = withAccount(
    program
      .command('link')
      .description('link to an account: its phone scans the code that is shown')
      .option('--name <name>', 'the name that the phone will show', 'Countersign')
      .option(
        '--qr <how>',
        'terminal, FILE.png, FILE.svg or none (default: terminal; none with --json)',
        qrOption,
      ),
  );
  withExamples(
    command,
    'link --server server.json --data ./data',
    'link --server server.json --data ./data --name "Door bot" --qr code.png',
  ).action(async (options: LinkOptions) => {
    const { io } = shell;
    const { qr = options.json === true ? 'none' : 'terminal' } = options;
    // Before a store is made.
    checkDeviceName(options.name);
    const picture = isPicture(qr) ? await outputFile(io.cwd, qr, 'the QR code') : qr;
    const profile = await serverProfile(io, options);
    const platform = shell.platform(options);
    const store = await openOrMakeStore(shell, options);
    try {
      const progress = new Progress(io, shell.printer(options), picture);
      shell.printer(options).note(`Connecting to ${profile.chat} ...`);
      await link(
        { store, profile, platform, name: options.name },
        (event) => {
          progress.show(event);
        },
        io.signal,
      );
      await progress.written();
    } finally {
      await store.close();
    }
  });
}

function qrOption(value: string): string {
  if (!isPicture(value) || /\.(png|svg)$/i.test(value)) return value;
  throw new InvalidArgumentError('It is terminal, FILE.png, FILE.svg or none.');
}

function isPicture(qr: string): boolean {
  return qr !== 'terminal' && qr !== 'none';
}

/** Shows each event of linking; pictures are written one after the other. */
class Progress {
  readonly #io: Io;
  readonly #printer: Printer;
  readonly #qr: string;
  #writing: Promise<void> = Promise.resolve();
  #failure: Error | undefined;

  /** @param qr terminal, none, or the path of a picture */
  constructor(io: Io, printer: Printer, qr: string) {
    this.#io = io;
    this.#printer = printer;
    this.#qr = qr;
  }

  show(event: LinkEvent): void {
    switch (event.kind) {
      case 'url':
        this.#showUrl(event.url, event.expiresAt);
        break;
      case 'scanned':
        this.#printer.print({ event: 'scanned' }, () => 'The code was scanned.');
        break;
      case 'registering':
        this.#printer.print({ event: 'registering' }, () => 'Registering this device ...');
        break;
      case 'keys':
        this.#printer.print({ event: 'keys' }, () => 'Uploading keys ...');
        break;
      case 'linked':
        this.#printer.print(linkedEvent(event.account), () => linkedText(event.account));
        break;
    }
  }

  /** Resolves when no picture is being written. @throws what the last one failed with */
  async written(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #showUrl(url: string, expiresAt: number): void {
    const until = new Date(expiresAt).toLocaleTimeString();
    this.#printer.print({ event: 'url', url, expiresAt }, () => {
      const picture = this.#qr === 'terminal' ? `${qrTerminal(url)}\n` : '';
      return `${picture}Scan this code on the phone (linked devices), until ${until}:\n${url}`;
    });
    if (this.#qr === 'terminal' && this.#printer.json) this.#io.stderr.write(qrTerminal(url));
    if (!isPicture(this.#qr)) return;
    const file = this.#qr;
    this.#writing = this.#writing
      .then(() => writeQrFile(url, file))
      .then(
        () => {
          this.#printer.note(`The code is in ${file}`);
        },
        (error: unknown) => {
          this.#failure = error as Error;
          this.#printer.note(`The code could not be written to ${file}`);
        },
      );
  }
}

function linkedEvent({ aci, pni, number, deviceId, name }: Account): object {
  return { event: 'linked', aci, pni: bareId(pni), number, deviceId, name };
}

function linkedText({ aci, number, deviceId, name }: Account): string {
  return `Linked as device ${String(deviceId)}, "${name}", of ${number ?? 'an account without a number'} (${aci}).`;
}
