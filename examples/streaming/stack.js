// Streams of every kind behind the router, on AWS.
//
//   npx cdk deploy --app 'node stack.js' -c certificate=ARN \
//       -c registry=ACCOUNT.dkr.ecr.REGION.amazonaws.com
const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const { Platform } = require('aws-cdk-lib/aws-ecr-assets');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const lambda = require('aws-cdk-lib/aws-lambda');
const { LambdaConstruct, EcsConstruct } = require('lambda-dispatch-cdk');

const app = new cdk.App();
const context = (name, otherwise) => app.node.tryGetContext(name) ?? otherwise;
const stack = new cdk.Stack(app, 'streaming-example');
const vpc = new ec2.Vpc(stack, 'Vpc', { maxAzs: 2, natGateways: 1 });

// Where deploy/images were pushed to.
const registry = context('registry', '123456789012.dkr.ecr.eu-west-1.amazonaws.com');
const fn = new LambdaConstruct(stack, 'App', {
  vpc,
  dockerImage: lambda.DockerImageCode.fromImageAsset(__dirname, {
    platform: Platform.LINUX_ARM64,
    buildArgs: { EXTENSION: `${registry}/lambda-dispatch-extension:0.1.0` },
  }),
  memorySize: 1769,
  timeout: cdk.Duration.minutes(15),
});

const loadBalancer = new elbv2.ApplicationLoadBalancer(stack, 'LoadBalancer', {
  vpc,
  internetFacing: true,
  dropInvalidHeaderFields: true,
  // Streams that are silent for a while stay: longer than the router's own limit (STREAM_IDLE).
  idleTimeout: cdk.Duration.minutes(6),
});
const httpsListener = loadBalancer.addListener('Https', {
  port: 443,
  sslPolicy: elbv2.SslPolicy.RECOMMENDED_TLS,
  certificates: [
    elbv2.ListenerCertificate.fromArn(
      context(
        'certificate',
        'arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000',
      ),
    ),
  ],
});
new EcsConstruct(stack, 'Router', {
  vpc,
  lambdaFunction: fn.target,
  httpsListener,
  environment: {
    LAMBDA_DISPATCH_TIMEOUTS_STREAM_IDLE: '5m',
    // Longer than the load balancer's idle time-out: it uses no connection that the router closes.
    LAMBDA_DISPATCH_TIMEOUTS_KEEP_ALIVE: '7m',
  },
});
new cdk.CfnOutput(stack, 'Address', { value: loadBalancer.loadBalancerDnsName });
