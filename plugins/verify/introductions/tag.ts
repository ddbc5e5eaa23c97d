/**
 * The app message of an introduction and of its revocation: a statement, whole (`statement.ts`).
 */
import { appType } from '../../../src/index.ts';

export const INTRODUCTION = appType('countersign.introduction/1');
