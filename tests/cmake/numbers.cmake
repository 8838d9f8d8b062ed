# Plans run in-process by the host kernels: same bits under every plan, gradients against differences.
remat_test(test_numbers unit/test_numbers.c support/copies.c support/machine.c support/packed.c support/random_graph.c support/small_net.c
           LIBS remat_planner remat_ir remat_kernels_host)
remat_test(test_gradients unit/test_gradients.c support/machine.c support/packed.c support/random_graph.c
           LIBS remat_frontend remat_planner remat_ir remat_kernels_double)
target_compile_definitions(test_gradients PRIVATE K_REAL=double EXAMPLES_DIR="${CMAKE_SOURCE_DIR}/examples")
remat_test(test_cache unit/test_cache.c support/machine.c support/packed.c support/random_graph.c support/small_net.c
           LIBS remat_planner remat_ir remat_kernels_host)
remat_test(test_documents unit/test_documents.c support/machine.c support/packed.c
           LIBS remat_frontend remat_planner remat_ir remat_kernels_host)
# tiny tensors: one thread each (threads and bits are test_ops's matter)
set_tests_properties(test_numbers test_gradients test_cache test_documents PROPERTIES ENVIRONMENT OMP_NUM_THREADS=1)
