/**
 * The command line without a process: arguments and a world in, an exit code out.
 * 0 done, 1 failed (a coded error was printed), 2 the call itself was wrong.
 */
import { Command, CommanderError } from 'commander';
import { BotError, isBotError } from '../errors.ts';
import { addAccountCommands } from './account-commands.ts';
import { addBackup } from './backup.ts';
import { addDemo } from './demo.ts';
import { addDevserver } from './devserver.ts';
import { addDoctor } from './doctor.ts';
import { failureText, toFailure, type Io } from './io.ts';
import { addLink } from './link.ts';
import { addLookCommands } from './look.ts';
import { addPluginCommands } from './plugin-commands.ts';
import { addRestore } from './restore.ts';
import { addRounds } from './rounds.ts';
import { addRun } from './run.ts';
import { addSend } from './send.ts';
import { Shell } from './shell.ts';
import { addStore } from './store.ts';
import { addStuckCommands } from './stuck.ts';
import { addSafetyNumber } from './safety-number.ts';
import { addTrust } from './trust.ts';
import { addUnlink } from './unlink.ts';
import { VERSION } from './version.ts';

/** @param argv without the program's name */
export async function main(argv: readonly string[], io: Io): Promise<0 | 1 | 2> {
  const shell = new Shell(io);
  try {
    const program = programFor(shell);
    await addPluginCommands(program, shell, argv);
    await program.parseAsync([...argv], { from: 'user' });
    return shell.exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0; // --help, --version
    const error = thrown instanceof CommanderError ? usageError(thrown) : shell.reword(thrown);
    const failure = toFailure(error);
    if (argv.includes('--json')) io[shell.resultsTo].write(`${JSON.stringify(failure)}\n`);
    else io.stderr.write(`${failureText(failure)}\n`);
    return isBotError(error, 'USAGE') ? 2 : 1;
  }
}

function programFor(shell: Shell): Command {
  const { io } = shell;
  const program = new Command('countersign')
    .description('Linked-device bots for Signal-compatible servers that people host themselves')
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined, // printed by main, as every failure is
    })
    .addHelpText('after', '\nTry it without a server of your own:\n  $ countersign demo');
  addDemo(program, shell);
  addDevserver(program, shell);
  addLink(program, shell);
  addRun(program, shell);
  addSend(program, shell);
  addLookCommands(program, shell);
  addStuckCommands(program, shell);
  addUnlink(program, shell);
  addTrust(program, shell);
  addSafetyNumber(program, shell);
  addRounds(program, shell);
  addDoctor(program, shell);
  addStore(program, shell);
  addAccountCommands(program, shell);
  addBackup(program, shell);
  addRestore(program, shell);
  return program;
}

function usageError(error: CommanderError): BotError {
  const message =
    error.code === 'commander.help' ? 'a command is missing' : error.message.replace(/^error: /, '');
  return new BotError('USAGE', message);
}
