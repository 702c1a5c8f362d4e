// The template in `deploy/cloudformation`: the same constructs as everybody's, with what differs
// between accounts as parameters. `deploy/check` tells when the committed file is out of date;
// `deploy/check --write` writes it.
const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecr = require('aws-cdk-lib/aws-ecr');
const ecs = require('aws-cdk-lib/aws-ecs');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const lambda = require('aws-cdk-lib/aws-lambda');
const { LambdaConstruct, EcsConstruct } = require('..');

class Fargate extends cdk.Stack {
  constructor(scope) {
    super(scope, 'fargate', {
      description:
        'lambda-dispatch: a load balancer, the router on Fargate, and the function that serves',
      // Deploys without `cdk bootstrap`: nothing in it is an asset.
      synthesizer: new cdk.DefaultStackSynthesizer({ generateBootstrapVersionRule: false }),
      analyticsReporting: false,
    });
    const asked = (id, description, more = {}) =>
      new cdk.CfnParameter(this, id, { type: 'String', description, ...more });
    const subnet = { type: 'AWS::EC2::Subnet::Id' };
    const vpcId = asked('VpcId', 'The network', { type: 'AWS::EC2::VPC::Id' });
    const privateA = asked(
      'PrivateSubnetA',
      'A private subnet with a way out (NAT gateway, or endpoints)',
      subnet,
    );
    const privateB = asked('PrivateSubnetB', 'Another, in another zone', subnet);
    const publicA = asked('PublicSubnetA', 'A public subnet, for the load balancer', subnet);
    const publicB = asked('PublicSubnetB', 'Another, in another zone', subnet);
    const certificate = asked('CertificateArn', 'The certificate of the load balancer, in ACM', {
      allowedPattern: 'arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+',
    });
    const clients = asked('ClientCidr', 'Who may connect to the load balancer', {
      default: '0.0.0.0/0',
      allowedPattern: '[0-9.]+/[0-9]+',
    });
    const routerRepository = asked('RouterRepository', 'ECR repository of the router', {
      default: 'lambda-dispatch-router',
    });
    const routerTag = asked('RouterTag', 'Its tag', { default: '0.1.0' });
    const appRepository = asked(
      'AppRepository',
      'ECR repository of the function: your app with the extension in /opt/extensions',
    );
    const appTag = asked(
      'AppTag',
      'Its tag: a new one for each version, or the function is not updated',
    );
    const memory = asked('FunctionMemory', 'Memory of the function in MB', {
      type: 'Number',
      default: 1024,
      minValue: 128,
      maxValue: 10240,
    });
    const timeout = asked(
      'FunctionTimeout',
      'How long an instance serves, in seconds; 900 costs least',
      {
        type: 'Number',
        default: 900,
        minValue: 5,
        maxValue: 900,
      },
    );
    const slots = asked('Slots', 'Requests that an instance serves at once', {
      type: 'Number',
      default: 10,
      minValue: 1,
      maxValue: 255,
    });
    const instancesMax = asked('InstancesMax', 'Most instances of each task of the router', {
      type: 'Number',
      default: 100,
      minValue: 1,
      maxValue: 100000,
    });

    const vpc = ec2.Vpc.fromVpcAttributes(this, 'Vpc', {
      vpcId: vpcId.valueAsString,
      availabilityZones: ['a', 'b'],
      privateSubnetIds: [privateA.valueAsString, privateB.valueAsString],
      publicSubnetIds: [publicA.valueAsString, publicB.valueAsString],
    });
    // Nothing here asks for their route tables.
    cdk.Annotations.of(this).acknowledgeWarning('@aws-cdk/aws-ec2:noSubnetRouteTableId');
    const app = new LambdaConstruct(this, 'App', {
      vpc,
      dockerImage: lambda.DockerImageCode.fromEcr(
        ecr.Repository.fromRepositoryName(this, 'AppImages', appRepository.valueAsString),
        { tagOrDigest: appTag.valueAsString },
      ),
      memorySize: memory.valueAsNumber,
      timeout: cdk.Duration.seconds(timeout.valueAsNumber),
    });
    const group = new ec2.SecurityGroup(this, 'Clients', {
      vpc,
      allowAllOutbound: false,
      description: 'The load balancer: clients over TLS',
    });
    group.addIngressRule(ec2.Peer.ipv4(clients.valueAsString), ec2.Port.tcp(443), 'Clients');
    const loadBalancer = new elbv2.ApplicationLoadBalancer(this, 'LoadBalancer', {
      vpc,
      internetFacing: true,
      securityGroup: group,
      dropInvalidHeaderFields: true,
    });
    const httpsListener = loadBalancer.addListener('Https', {
      port: 443,
      open: false,
      certificates: [elbv2.ListenerCertificate.fromArn(certificate.valueAsString)],
      sslPolicy: elbv2.SslPolicy.RECOMMENDED_TLS,
    });
    new EcsConstruct(this, 'Router', {
      vpc,
      lambdaFunction: app.target,
      httpsListener,
      slots: slots.valueAsNumber,
      instancesMax: instancesMax.valueAsNumber,
      routerImage: ecs.ContainerImage.fromEcrRepository(
        ecr.Repository.fromRepositoryName(this, 'RouterImages', routerRepository.valueAsString),
        routerTag.valueAsString,
      ),
    });
    new cdk.CfnOutput(this, 'Address', {
      value: loadBalancer.loadBalancerDnsName,
      description: 'Point a name that the certificate is for here',
    });
  }
}

new Fargate(new cdk.App());
