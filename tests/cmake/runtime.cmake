# The trainer's loop, files, checkpoints and signals, with a hand-written program.
remat_test(test_runtime test_runtime.c LIBS remat_runtime)
remat_test(test_runtime_files test_runtime_files.c LIBS remat_runtime)
