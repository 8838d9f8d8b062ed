# Every operation's kernel, as a float and as a double module that the tests open side by side.
find_package(OpenMP REQUIRED COMPONENTS C)
remat_kernels(ops_kernels_float MODULE float)
target_compile_definitions(ops_kernels_float PRIVATE K_ALL_VARIANTS)
remat_kernels(ops_kernels_double MODULE double)

foreach(ops_test test_ops test_ops_limits)
  remat_test(${ops_test} unit/${ops_test}.c support/ops_engine.c support/packed.c support/ops_reference.c LIBS OpenMP::OpenMP_C ${CMAKE_DL_LIBS} m)
  add_dependencies(${ops_test} ops_kernels_float ops_kernels_double)
  target_compile_definitions(${ops_test} PRIVATE OPS_FLOAT="$<TARGET_FILE:ops_kernels_float>"
                                                 OPS_DOUBLE="$<TARGET_FILE:ops_kernels_double>")
endforeach()

# ninja bench_ops && tests/bench_ops [rows]: rates of the streaming kernels.
add_executable(bench_ops EXCLUDE_FROM_ALL bench/bench_ops.c support/ops_engine.c support/packed.c support/ops_reference.c)
target_include_directories(bench_ops PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(bench_ops PRIVATE OpenMP::OpenMP_C ${CMAKE_DL_LIBS} m)
target_compile_definitions(bench_ops PRIVATE OPS_FLOAT="$<TARGET_FILE:ops_kernels_float>")
add_dependencies(bench_ops ops_kernels_float)
