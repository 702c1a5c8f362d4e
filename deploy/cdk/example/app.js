// All there is, in one stack: a network, the function with SnapStart, the router on spare capacity
// behind a load balancer, and somebody who is called at night.
const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecr = require('aws-cdk-lib/aws-ecr');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const lambda = require('aws-cdk-lib/aws-lambda');
const sns = require('aws-cdk-lib/aws-sns');
const { LambdaConstruct, EcsConstruct, ObserveConstruct } = require('lambda-dispatch-cdk');

const app = new cdk.App();
const stack = new cdk.Stack(app, 'lambda-dispatch-example');
const vpc = new ec2.Vpc(stack, 'Vpc', { maxAzs: 2, natGateways: 1 });

const shop = new LambdaConstruct(stack, 'Shop', {
  vpc,
  dockerImage: lambda.DockerImageCode.fromEcr(
    ecr.Repository.fromRepositoryName(stack, 'ShopImages', 'shop'),
    { tagOrDigest: '2026-11-26' },
  ),
  memorySize: 1769, // one core
  timeout: cdk.Duration.minutes(15),
  snapStart: true,
});

const loadBalancer = new elbv2.ApplicationLoadBalancer(stack, 'LoadBalancer', {
  vpc,
  internetFacing: true,
  dropInvalidHeaderFields: true,
});
const certificate =
  app.node.tryGetContext('certificate') ??
  'arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000';
const httpsListener = loadBalancer.addListener('Https', {
  port: 443,
  certificates: [elbv2.ListenerCertificate.fromArn(certificate)],
  sslPolicy: elbv2.SslPolicy.RECOMMENDED_TLS,
});

const router = new EcsConstruct(stack, 'Router', {
  vpc,
  lambdaFunction: shop.target,
  httpsListener,
  minCapacity: 2,
  useFargateSpot: true,
  accessLog: true,
  createNetworkLoadBalancer: true,
  environment: { LAMBDA_DISPATCH_TIMEOUTS_QUEUE: '30s', LAMBDA_DISPATCH_POOL_INSTANCES_MIN: '2' },
});

new cdk.CfnOutput(stack, 'Address', { value: loadBalancer.loadBalancerDnsName });

new ObserveConstruct(stack, 'Observe', {
  router,
  topic: new sns.Topic(stack, 'Pager', { enforceSSL: true }),
  memorySize: 1769,
  budgetPerHour: 20,
});
