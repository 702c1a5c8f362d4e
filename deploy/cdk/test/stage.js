// A stack to build in, as small as it can be.
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const path = require('node:path');

const cdk = require('aws-cdk-lib');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecr = require('aws-cdk-lib/aws-ecr');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const lambda = require('aws-cdk-lib/aws-lambda');
const { Template } = require('aws-cdk-lib/assertions');
const { LambdaConstruct, EcsConstruct } = require('..');

/** Where apps are synthesized: left to itself, each leaves a folder behind. */
const folder = mkdtempSync(path.join(tmpdir(), 'lambda-dispatch-cdk-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

function stage() {
  const app = new cdk.App({ outdir: mkdtempSync(path.join(folder, 'app-')) });
  const stack = new cdk.Stack(app, 'Stack');
  const vpc = new ec2.Vpc(stack, 'Vpc', { maxAzs: 2 });
  const dockerImage = lambda.DockerImageCode.fromEcr(
    ecr.Repository.fromRepositoryName(stack, 'AppImages', 'app'),
    { tagOrDigest: '1' },
  );
  return { stack, vpc, dockerImage };
}

/** A function and the router in front of it, with more props for either. */
function pair(router = {}, fn = {}) {
  const { stack, vpc, dockerImage } = stage();
  const app = new LambdaConstruct(stack, 'App', { vpc, dockerImage, ...fn });
  const service = new EcsConstruct(stack, 'Router', {
    vpc,
    lambdaFunction: app.target,
    ...(typeof router === 'function' ? router(stack, vpc) : router),
  });
  return { stack, vpc, app, service };
}

function listener(stack, vpc) {
  const loadBalancer = new elbv2.ApplicationLoadBalancer(stack, 'Alb', {
    vpc,
    internetFacing: true,
  });
  return loadBalancer.addListener('Https', {
    port: 443,
    certificates: [
      elbv2.ListenerCertificate.fromArn('arn:aws:acm:eu-west-1:123456789012:certificate/c'),
    ],
  });
}

const template = (stack) => Template.fromStack(stack);
/** The only resource of a type. */
function only(of, type) {
  const found = Object.entries(of.findResources(type));
  if (found.length !== 1) throw new Error(`${found.length} of ${type}`);
  return found[0][1].Properties;
}
/** The variables of the router's container, or of the task's other one. */
function environment(of, container = 0) {
  const { [container]: it } = only(of, 'AWS::ECS::TaskDefinition').ContainerDefinitions;
  return Object.fromEntries(it.Environment.map(({ Name, Value }) => [Name, Value]));
}
/** Who may connect to the group with this description, as [who, port]. */
function ingress(of, description) {
  const groups = of.findResources('AWS::EC2::SecurityGroup');
  const [id, group] = Object.entries(groups).find(([, it]) =>
    it.Properties.GroupDescription.startsWith(description),
  );
  const inline = (group.Properties.SecurityGroupIngress ?? []).map((rule) => [
    rule.CidrIp,
    rule.FromPort,
  ]);
  const own = Object.values(of.findResources('AWS::EC2::SecurityGroupIngress'))
    .map((it) => it.Properties)
    .filter((it) => it.GroupId?.['Fn::GetAtt']?.[0] === id)
    .map((it) => {
      const source = it.SourceSecurityGroupId?.['Fn::GetAtt']?.[0] ?? it.SourceSecurityGroupId;
      return [groups[source]?.Properties.GroupDescription.split(/[:;]/)[0] ?? source, it.FromPort];
    });
  return [...inline, ...own].sort();
}

module.exports = { stage, pair, listener, template, only, environment, ingress };
