"""Background jobs, run by three kinds of process that share only the store. Each survives the end of the others.

    window      queues jobs in the store and reads their state there (`client`).
    supervisor  one per home folder (`supervisor`). It starts a process for each queued job (`queue`, `backends`),
                enforces Stop (`timeouts`), records how each process exited (`failure_reasons`), samples memory
                (`memory`), and adopts running workers after its own restart (`processes`).
    worker      one process per job (`worker` runs it, `job` is the object passed to the job's function). It claims
                its job in the store and records the outcome there. A warm `standby` process, which has already
                imported torch, becomes the worker of the next job.

Only workers import torch. A process is identified by its pid and creation time, never by its pid alone.
"""
