// What the original's users have written, with the import changed.
const assert = require('node:assert/strict');
const test = require('node:test');
const cdk = require('aws-cdk-lib');
const ecs = require('aws-cdk-lib/aws-ecs');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const lambdaDispatch = require('..');
const { stage, listener, template, only } = require('./stage');

test('the names and props of its README', () => {
  const { stack, vpc, dockerImage } = stage();
  const { LambdaConstruct, EcsConstruct } = lambdaDispatch;
  const httpsListener = listener(stack, vpc);
  const lambdaConstruct = new LambdaConstruct(stack, 'LambdaConstruct', {
    vpc,
    dockerImage,
    memorySize: 512,
    timeout: cdk.Duration.seconds(30),
  });
  const service = new EcsConstruct(stack, 'EcsConstruct', {
    vpc,
    lambdaFunction: lambdaConstruct.function,
    loadBalancer: httpsListener.loadBalancer,
    httpsListener,
    memoryLimitMiB: 4096,
    cpu: 2048,
    maxCapacity: 20,
    minCapacity: 2,
  });
  assert.ok(service.service && service.securityGroup && service.targetGroup);
  const scaling = only(template(stack), 'AWS::ApplicationAutoScaling::ScalableTarget');
  assert.deepEqual([scaling.MinCapacity, scaling.MaxCapacity], [2, 20]);
});

test('the names and props of its code', () => {
  const { stack, vpc, dockerImage } = stage();
  const { LambdaDispatchFunction, LambdaDispatchECS } = lambdaDispatch;
  const fn = new LambdaDispatchFunction(stack, 'LambdaFunction', {
    vpc,
    dockerImage,
    memorySize: 192,
    timeout: cdk.Duration.seconds(60),
    architecture: cdk.aws_lambda.Architecture.ARM_64,
  });
  const service = new LambdaDispatchECS(stack, 'ECSService', {
    vpc,
    lambdaFunction: fn.function,
    cluster: new ecs.Cluster(stack, 'Cluster', { vpc, enableFargateCapacityProviders: true }),
    memoryLimitMiB: 2048,
    cpu: 1024,
    maxCapacity: 10,
    minCapacity: 1,
    useFargateSpot: true,
    cpuArchitecture: ecs.CpuArchitecture.ARM64,
    routerImage: ecs.ContainerImage.fromRegistry('router:1'),
    demoAppImage: ecs.ContainerImage.fromRegistry('demo:1'),
    removalPolicy: cdk.RemovalPolicy.RETAIN,
    createNetworkLoadBalancer: true,
    nlbPorts: { routerPort: 80, demoAppPort: 81 },
  });
  const balancer = new elbv2.ApplicationLoadBalancer(stack, 'Alb', { vpc });
  balancer.addListener('Router', {
    port: 80,
    open: false,
    defaultTargetGroups: [service.targetGroupRouter],
  });
  balancer.addListener('Demo', {
    port: 81,
    protocol: 'HTTP',
    open: false,
    defaultTargetGroups: [service.targetGroupDemoApp],
  });
  assert.ok(service.networkLoadBalancer);
  template(stack).resourceCountIs('AWS::ElasticLoadBalancingV2::Listener', 4);
});
