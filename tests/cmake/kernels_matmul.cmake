remat_test(test_kernels_matmul test_kernels_matmul.c LIBS remat_kernels_host)

# ninja bench_kernels && OMP_NUM_THREADS=2 tests/bench_kernels: rates against this machine's own sgemm.
add_executable(bench_kernels EXCLUDE_FROM_ALL bench/bench_kernels.c)
target_include_directories(bench_kernels PRIVATE ${REMAT_CBLAS})
target_link_libraries(bench_kernels PRIVATE remat_kernels_host)
