import type { Entry } from "./entry.ts";

/** What is wrong, how people say it, the cause, and what to do. */
const TROUBLES: readonly (readonly [
  key: string,
  question: string,
  ways: readonly string[],
  cause: string,
  steps: string,
])[] = [
  [
    "pending",
    "Why does my pod stay Pending?",
    [
      "pod pending",
      "my pod is stuck in Pending",
      "A pod is Pending, what should I do?",
      "pods stay pending forever",
      "How do I fix a Pending pod?",
      "0/3 nodes are available: insufficient memory",
    ],
    "A pod stays Pending when no node has room for its requests or fits its rules.",
    "Run kubectl describe pod and read the last events; then lower the requests, add a node, or mend the taint that they name.",
  ],
  [
    "crashloop",
    "Why is my pod in CrashLoopBackOff?",
    [
      "CrashLoopBackOff",
      "my pod crashes again and again",
      "pod crash loop",
      "How do I fix CrashLoopBackOff?",
      "container restarts all the time",
    ],
    "CrashLoopBackOff means that the container starts and ends again and again.",
    "Read kubectl logs with --previous and kubectl describe pod; look for a missing setting, a failed probe or an OOM kill.",
  ],
  [
    "image",
    "Why does my pod say ImagePullBackOff?",
    [
      "ImagePullBackOff",
      "ErrImagePull",
      "the node cannot pull the image",
      "image pull fails",
      "How do I fix ImagePullBackOff?",
    ],
    "ImagePullBackOff means that the node cannot fetch the image.",
    "Check the image's name and tag, the registry's address and its credentials, and whether the node can reach it.",
  ],
  [
    "oom",
    "Why was my container OOMKilled?",
    ["OOMKilled", "exit code 137", "pod out of memory", "container killed out of memory", "How do I fix an OOM kill?"],
    "OOMKilled means that the container went over its memory limit.",
    "Raise the limit, 2Gi to 3Gi for a model of 1B, or load a smaller quantization, and apply again.",
  ],
  [
    "dns",
    "Why can my pod not resolve a name?",
    [
      "DNS does not work in my pod",
      "cannot connect to host promptimizer:11434",
      "name does not resolve",
      "could not resolve host in a pod",
      "How do I fix DNS in Kubernetes?",
    ],
    "A name that does not resolve points to the Service or to CoreDNS.",
    "Check that the Service exists and that its selector equals the pods' labels, then run nslookup in a pod.",
  ],
  [
    "notready",
    "Why is my node NotReady?",
    [
      "node NotReady",
      "a node is not ready",
      "k3s node not ready",
      "my worker is NotReady",
      "How do I fix a NotReady node?",
    ],
    "A node is NotReady when its kubelet no longer reports.",
    "On the node, read systemctl status k3s-agent and journalctl -u k3s-agent, then check port 6443 to the server and the clock.",
  ],
  [
    "disk",
    "What do I do when the disk is full?",
    [
      "disk full",
      "no space left on device",
      "my disk is full",
      "the node has disk pressure",
      "How do I free disk space?",
    ],
    "The file system has no free blocks or inodes.",
    "Find what takes the space with df -h and du -xh, remove old images and logs, then restart what failed.",
  ],
  [
    "slow",
    "Why is my model so slow?",
    [
      "model is slow",
      "ollama is slow in a container",
      "slow answers from the model",
      "How do I make the model faster?",
      "tokens per second are low",
    ],
    "A model crawls when it uses more threads than its CPU limit allows.",
    "Set the number of threads to the CPU limit, or raise the limit, and keep the model in memory between questions.",
  ],
  [
    "pull",
    "Why does the model pull fail?",
    [
      "failed to pull model: context deadline exceeded",
      "model download fails",
      "ollama pull times out",
      "How do I fix a failed model pull?",
    ],
    "A model pull fails when the network is slow or the disk is full.",
    "Check the free space and the connection, give the pull a longer timeout and try again; what was loaded is kept.",
  ],
  [
    "ssh",
    "Why does SSH say permission denied?",
    [
      "ssh permission denied publickey",
      "cannot log in with ssh",
      "SSH refuses my key",
      "How do I fix SSH permission denied?",
    ],
    "SSH says permission denied when it was shown no key that the server knows.",
    "Check the user's name, that your public key is in authorized_keys, and that the file and its folder belong to that user.",
  ],
  [
    "port",
    "What do I do when a port is already in use?",
    ["address already in use", "EADDRINUSE", "port is taken", "How do I find what uses a port?"],
    "Another process listens on that port.",
    "Find it with ss -ltnp, stop it or choose another port, and start again.",
  ],
  [
    "clock",
    "Why does TLS say that the certificate is not yet valid?",
    [
      "certificate not yet valid",
      "x509 certificate has expired or is not yet valid",
      "clock is wrong",
      "How do I fix the clock of a node?",
    ],
    "A certificate is not yet valid when the clock of a machine is wrong.",
    "Run timedatectl set-ntp true, wait until the clock is synchronized, and try again.",
  ],
  [
    "swap",
    "Why does the kubelet complain about swap?",
    ["kubelet swap error", "swap is on", "running with swap on is not supported", "How do I turn off swap?"],
    "The kubelet does not start while swap is on, unless it is told to.",
    "Run swapoff -a and comment the line of the swap file in /etc/fstab out, so that it stays off after a reboot.",
  ],
  [
    "init",
    "Why does my pod hang in Init:0/1?",
    ["Init:0/1", "init container does not finish", "pod stuck in init", "How do I debug an init container?"],
    "A pod hangs in Init when its init container waits for something that does not come.",
    "Read kubectl logs with -c and the name of the init container, and check the Services that it waits for.",
  ],
];

/** Things that go wrong, and what to do; and what to do again, for who asks that afterwards. */
export function troubleEntries(): Entry[] {
  return TROUBLES.flatMap(([key, question, ways, cause, steps]) => {
    const asked: Entry = {
      key: `trouble/${key}`,
      topic: "troubleshooting",
      question,
      ways,
      full: `${cause} ${steps}`,
      brief: cause,
    };
    return [
      asked,
      {
        key: `trouble-after/${key}`,
        topic: "follow-up",
        question: ways.find((one) => one.startsWith("How do I ")) ?? question,
        full: steps,
        brief: `${steps.split(/[;,]/, 1)[0] ?? steps}.`,
        after: [asked],
        ways: ["How do I fix it?", "What can I do about it?", "And what do I do now?", "how to fix that", "What now?"],
      } satisfies Entry,
    ];
  });
}
