/** The stacks of one yard, in the order in which they are deployed; each can be deployed, and destroyed, apart. */

import { DefaultStackSynthesizer, type Stack, type StackProps } from 'aws-cdk-lib';
import type { Construct } from 'constructs';
import type { Yard } from '../yard';
import { type Code, FunctionsStack } from './functions';
import { MessagingStack } from './messaging';
import { ObservabilityStack } from './observability';
import { ProvingStack } from './proving';
import { StateStack } from './state';

export function yardStacks(scope: Construct, yard: Yard, code: Code): Stack[] {
  const { account, region } = yard.parameters;
  const own = (keeps: boolean): StackProps => ({
    env: { account: account ?? process.env.CDK_DEFAULT_ACCOUNT, region },
    // A synthesizer belongs to one stack.
    synthesizer: new DefaultStackSynthesizer({ generateBootstrapVersionRule: false }),
    terminationProtection: keeps && yard.parameters.keep_data,
  });
  const state = new StateStack(scope, yard, own(true));
  const messaging = new MessagingStack(scope, yard, own(true));
  const functions = new FunctionsStack(scope, yard, own(false), code);
  const proving = new ProvingStack(scope, yard, own(false));
  const observability = new ObservabilityStack(scope, yard, own(false));
  // They know one another by name alone, so that no export ties them; these are in whose place comes first.
  messaging.addStackDependency(state, 'the queues are encrypted under its key');
  functions.addStackDependency(messaging, 'the functions take from its queues');
  proving.addStackDependency(state);
  observability.addStackDependency(state, 'the topics are encrypted under its key');
  return [state, messaging, functions, proving, observability];
}
