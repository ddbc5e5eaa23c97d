/**
 * `devserver`: the development server until stopped, for trying a bot and for tests in any language.
 */
import { writeFile } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import { startDevServer } from '../devserver/devserver.ts';
import { REGISTRATION } from '../devserver/rules/verification.ts';
import { aborted } from '../platform.ts';
import { wholeNumber, withExamples, withOutput, type OutputOptions } from './options.ts';
import { outputFile } from './output-file.ts';
import type { Shell } from './shell.ts';

const DIALECTS = ['jun25', 'dec25', 'aug26'] as const;

interface DevserverOptions extends OutputOptions {
  readonly port: number;
  readonly profile: string;
  readonly dialect: (typeof DIALECTS)[number];
}

export function addDevserver(program: Command, shell: Shell): void {
  const command = withOutput(
    program
      .command('devserver')
      .description('a Signal-compatible server in this process, with phones to command; until stopped')
      .option(
        '--port <number>',
        'port of the server on loopback; 0 takes a free one',
        wholeNumber(0, 65_535),
        0,
      )
      .option('--profile <file>', 'where its server profile is written', 'devserver.json')
      .addOption(
        new Option('--dialect <name>', 'the generation of servers that it speaks like')
          .choices(DIALECTS)
          .default('aug26'),
      ),
  );
  command.addHelpText(
    'after',
    `\nAny number is registered with: account register --captcha ${REGISTRATION.captcha} --code ${REGISTRATION.code}`,
  );
  withExamples(command, 'devserver', 'devserver --port 8443 --profile server.json --dialect dec25').action(
    async (options: DevserverOptions) => {
      const { io } = shell;
      const profile = await outputFile(io.cwd, options.profile, 'the profile');
      const server = await startDevServer({
        port: options.port,
        dialect: options.dialect,
        platform: shell.platform(options),
      });
      try {
        await writeFile(profile, `${JSON.stringify(server.profile, undefined, 2)}\n`);
        const { port, controlUrl: control } = server;
        shell
          .printer(options)
          .print({ event: 'ready', port, control, profile, ...REGISTRATION }, () =>
            [
              `The development server listens on port ${String(port)}.`,
              `profile   ${profile}`,
              `control   ${control}`,
              `captcha   ${REGISTRATION.captcha}   (account register --captcha)`,
              `code      ${REGISTRATION.code}   (account register --code)`,
              'Ctrl-C stops it.',
            ].join('\n'),
          );
        await aborted(io.signal);
      } finally {
        await server.close();
      }
    },
  );
}
