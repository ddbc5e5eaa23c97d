/**
 * `account register`: makes this data directory the primary device of a number's account.
 */
import { bareId } from '../inspect.ts';
import { Option, type Command } from 'commander';
import { checkWanted, register, type RegisterEvent, type RegisterQuestions } from '../account/register.ts';
import { BotError } from '../errors.ts';
import { openOrMakeStore } from './account.ts';
import type { Io, Printer } from './io.ts';
import { serverProfile, withAccount, withExamples, type AccountOptions } from './options.ts';
import { canPrompt, promptLine } from './prompt.ts';
import type { Shell } from './shell.ts';

interface RegisterOptions extends AccountOptions {
  readonly number: string;
  readonly name: string;
  readonly captcha?: string;
  readonly code?: string;
  readonly voice?: boolean;
  readonly newCode?: boolean;
  readonly yes?: boolean;
}

export function addRegister(group: Command, shell: Shell): void {
  const command = withAccount(
    group
      .command('register')
      .description('register a number; its account then has its primary device here')
      .requiredOption('--number <number>', 'in international form: +15550001111')
      .option('--name <name>', 'of the profile, as contacts see it', 'Countersign')
      .option('--captcha <token>', 'prefix.sitekey.action.token; asked for where the server wants one')
      .option('--code <code>', 'that the server has sent to the number; asked for if unsaid')
      .option('--voice', 'have the code called and not sent')
      .addOption(
        new Option('--new-code', 'have another code sent, in place of one that is lost').conflicts('code'),
      )
      .option('--yes', 'take over an account that exists, and remove its linked devices, without asking'),
  );
  withExamples(
    command,
    'account register --number +15550001111 --server server.json --data ./phone',
    'account register --number +15550001111 --captcha TOKEN --code 123456 --server server.json --data ./phone',
  ).action(async (options: RegisterOptions) => {
    const { io } = shell;
    const printer = shell.printer(options);
    // Before a store is made for it.
    checkWanted(options);
    checkGiven(options);
    const profile = await serverProfile(io, options);
    const platform = shell.platform(options);
    const store = await openOrMakeStore(shell, options);
    try {
      const parts = {
        store,
        profile,
        platform,
        number: options.number,
        name: options.name,
        ...(options.voice === true && { transport: 'voice' as const }),
        newCode: options.newCode === true,
        questions: questionsFor(io, options),
      };
      const onProgress = (event: RegisterEvent): void => {
        show(printer, event);
      };
      const { account, reregistration } = await register(parts, onProgress, io.signal);
      if (reregistration)
        printer.note('The server had this account already: any devices that were linked to it are removed.');
      const { aci, pni, number } = account;
      printer.print(
        { aci, pni: bareId(pni), number },
        () => `Registered ${number ?? ''} as ${aci}. Link a bot: countersign account approve LINK`,
      );
    } finally {
      await store.close();
    }
  });
}

function show(printer: Printer, event: RegisterEvent): void {
  switch (event.kind) {
    case 'verified':
      printer.note('The number is verified.');
      break;
    case 'registering':
      printer.note('Registering ...');
      break;
    case 'keys':
      printer.note('Uploading keys ...');
      break;
    case 'warning':
      printer.note(`warning: ${event.message}`);
      break;
  }
}

/** What was given, then what a terminal says, else nothing. */
function questionsFor(io: Io, options: RegisterOptions): RegisterQuestions {
  const ask = async (question: string): Promise<string | undefined> => {
    if (!canPrompt(io)) return undefined;
    const answer = (await promptLine(io, question)).trim();
    return answer === '' ? undefined : answer;
  };
  return {
    captcha: () =>
      options.captcha === undefined
        ? ask('Captcha token (prefix.sitekey.action.token): ')
        : Promise.resolve(options.captcha),
    code: (again) => {
      if (options.code !== undefined && !again) return Promise.resolve(options.code);
      return ask(again ? 'This is not the code. Code: ' : `Code that was sent to ${options.number}: `);
    },
    takeOver: async (why) => {
      if (options.yes === true) return true;
      const answer = await ask(`${why}. Go on? [y/N] `);
      return answer !== undefined && /^y(es)?$/i.test(answer);
    },
  };
}

/** @throws BotError `USAGE` an option that was given empty */
function checkGiven({ captcha, code }: RegisterOptions): void {
  if (captcha?.trim() !== '' && code?.trim() !== '') return;
  throw new BotError('USAGE', '--captcha and --code must not be empty');
}
