/** Rules of cdk-nag that do not fit, each with its reason. */

import type { Stack } from 'aws-cdk-lib';
import { NagSuppressions } from 'cdk-nag';

const SKIPPED: { id: string; reason: string }[] = [];

export function skipped(stacks: readonly Stack[]): void {
  stacks.forEach((stack) => NagSuppressions.addStackSuppressions(stack, SKIPPED));
}
