import { Construct } from 'constructs';
import { EcsConstruct, EcsConstructProps } from './ecs';
import { LambdaConstruct, LambdaConstructProps } from './lambda';

/** `LambdaConstructProps`, under the name that the original's code has for it. */
export interface LambdaDispatchFunctionProps extends LambdaConstructProps {}

/** `LambdaConstruct`, under the name that the original's code has for it. */
export class LambdaDispatchFunction extends LambdaConstruct {
  constructor(scope: Construct, id: string, props: LambdaDispatchFunctionProps) {
    super(scope, id, props);
  }
}

/** `EcsConstructProps`, under the name that the original's code has for it. */
export interface LambdaDispatchECSProps extends EcsConstructProps {}

/** `EcsConstruct`, under the name that the original's code has for it. */
export class LambdaDispatchECS extends EcsConstruct {
  constructor(scope: Construct, id: string, props: LambdaDispatchECSProps) {
    super(scope, id, props);
  }
}
