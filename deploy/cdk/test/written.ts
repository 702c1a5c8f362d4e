// What users have written in TypeScript, the original's with the import changed. It is compiled, not
// run: `original.test.js` runs the same.
import * as cdk from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as elbv2 from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import {
  EcsConstruct,
  LambdaConstruct,
  LambdaDispatchECS,
  LambdaDispatchECSProps,
  LambdaDispatchFunction,
  LambdaDispatchFunctionProps,
  ObserveConstruct,
} from 'lambda-dispatch-cdk';

declare const stack: cdk.Stack;
declare const vpc: ec2.IVpc;
declare const cluster: ecs.ICluster;
declare const loadBalancer: elbv2.IApplicationLoadBalancer;
declare const httpsListener: elbv2.IApplicationListener;
declare const networkLoadBalancer: elbv2.INetworkLoadBalancer;
const dockerImage = lambda.DockerImageCode.fromImageAsset('.');

// Its README.
const readme = new LambdaConstruct(stack, 'LambdaConstruct', {
  vpc,
  dockerImage,
  memorySize: 512,
  timeout: cdk.Duration.seconds(30),
});
new EcsConstruct(stack, 'EcsConstruct', {
  vpc,
  lambdaFunction: readme.function,
  loadBalancer,
  httpsListener,
  memoryLimitMiB: 2048,
  cpu: 1024,
  maxCapacity: 10,
  minCapacity: 1,
});

// Its code.
const functionProps: LambdaDispatchFunctionProps = {
  vpc,
  dockerImage,
  architecture: lambda.Architecture.X86_64,
};
const fn = new LambdaDispatchFunction(stack, 'LambdaFunction', functionProps);
const served: lambda.Function = fn.function;
const ecsProps: LambdaDispatchECSProps = {
  vpc,
  lambdaFunction: served,
  cluster,
  useFargateSpot: true,
  cpuArchitecture: ecs.CpuArchitecture.ARM64,
  routerImage: ecs.ContainerImage.fromRegistry('router'),
  demoAppImage: ecs.ContainerImage.fromRegistry('demo'),
  removalPolicy: cdk.RemovalPolicy.DESTROY,
  networkLoadBalancer,
  nlbPorts: { routerPort: 443, demoAppPort: 444 },
};
const service = new LambdaDispatchECS(stack, 'ECSService', ecsProps);
export const used: [
  ecs.FargateService,
  ec2.SecurityGroup,
  elbv2.ApplicationTargetGroup,
  elbv2.ApplicationTargetGroup | undefined,
] = [service.service, service.securityGroup, service.targetGroupRouter, service.targetGroupDemoApp];

// Ours: the README.
const shop = new LambdaConstruct(stack, 'Shop', {
  vpc,
  dockerImage,
  memorySize: 1769,
  timeout: cdk.Duration.minutes(15),
  snapStart: true,
});
const router = new EcsConstruct(stack, 'Router', {
  vpc,
  lambdaFunction: shop.target,
  httpsListener,
});
new ObserveConstruct(stack, 'Observe', { router, budgetPerHour: 20, memorySize: 1769 });
