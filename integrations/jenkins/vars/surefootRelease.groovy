/**
 * One stage of a release: change or promote a Rollout, wait until it is decided, report its gates (docs/pipelines.md).
 *
 *   surefootRelease rollout: 'web-frontend', namespace: 'shop', verb: 'set-image', images: 'web=web:v2'
 *
 * Keys: rollout (required), verb, images, namespace, context, timeout, reports as in resources/surefoot/release.sh.
 * onPause: 'fail' (default), 'ask' (a person decides here; Proceed promotes), or 'succeed'. approvers: who may proceed.
 * Returns the outcome. Fails the build unless the release was promoted (or paused with onPause: 'succeed').
 *
 * The agent needs bash and `rollout`; the kubeconfig comes from around it (withCredentials, KUBECONFIG).
 * No value is ever part of a script: all of them travel in the environment.
 */
def call(Map given) {
    def known = ['rollout', 'verb', 'images', 'namespace', 'context', 'timeout', 'reports', 'onPause', 'approvers']
    def strange = given.keySet().findAll { key -> !known.contains(key.toString()) }
    if (strange) { error('surefootRelease does not know ' + strange.join(', ') + '; it knows ' + known.join(', ')) }
    if (!given.rollout) { error('surefootRelease needs rollout: the name of the Rollout') }
    def onPause = given.onPause ?: 'fail'
    if (!['fail', 'ask', 'succeed'].contains(onPause)) { error('surefootRelease: onPause is fail, ask or succeed') }

    def outcome = carryOut(given, given.verb ?: 'wait')
    while (outcome == 'paused' && onPause == 'ask') {
        input message: 'The release of ' + given.rollout + ' waits. Promote it?', ok: 'Promote',
              submitter: given.approvers ?: null
        outcome = carryOut(given, 'promote')
    }
    if (outcome != 'promoted' && !(outcome == 'paused' && onPause == 'succeed')) {
        error('the release of ' + given.rollout + ' ended as ' + outcome)
    }
    return outcome
}

private String carryOut(Map given, String verb) {
    def reports = given.reports ?: 'surefoot-reports'
    writeFile file: reports + '/release.sh', text: libraryResource('surefoot/release.sh')
    def code = 1
    withEnv(['SUREFOOT_ROLLOUT=' + given.rollout,
             'SUREFOOT_VERB=' + verb,
             'SUREFOOT_IMAGES=' + (given.images ?: ''),
             'SUREFOOT_NAMESPACE=' + (given.namespace ?: ''),
             'SUREFOOT_CONTEXT=' + (given.context ?: ''),
             'SUREFOOT_TIMEOUT=' + (given.timeout ?: '10m'),
             'SUREFOOT_SUCCESS_ON_PAUSE=false',
             'SUREFOOT_REPORTS=' + reports]) {
        code = sh label: 'surefoot', returnStatus: true, script: 'exec bash "$SUREFOOT_REPORTS/release.sh"'
    }
    junit testResults: reports + '/gates.xml', allowEmptyResults: true, skipPublishingChecks: true
    archiveArtifacts artifacts: reports + '/*', allowEmptyArchive: true
    // The exit code, not a file: what an earlier build has left in the workspace is no answer.
    def names = [0: 'promoted', 2: 'usage', 3: 'failed', 4: 'timeout', 5: 'paused', 6: 'not-found', 7: 'refused',
                 8: 'unreachable', 9: 'forbidden']
    return names.get(code, 'error')
}
