# The CUDA kernels. On a simulated device: every operation, wherever there is a C++ compiler. With nvcc: every
# example's program for two architectures. A GPU is never needed; tests/gpu/check.sh is for one.
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER)
  enable_language(CXX)
  set(cuda_sim ${CMAKE_CURRENT_SOURCE_DIR}/cuda_sim)
  set(cuda_device ${cuda_sim}/sim.cpp ${cuda_sim}/stream.cpp ${cuda_sim}/graph.cpp ${cuda_sim}/blas.cpp ${cuda_sim}/tensor_core.cpp
      ${cuda_sim}/banks.cpp)
  set(cuda_names ${CMAKE_CURRENT_BINARY_DIR}/cuda_names)
  set(cuda_renamed ${cuda_names}/cuda_functions.h ${cuda_names}/cuda_rename.h)
  add_custom_command(OUTPUT ${cuda_renamed} DEPENDS ${CMAKE_SOURCE_DIR}/kernels/kernels.h ${cuda_sim}/rename.sh VERBATIM
                     COMMAND sh ${cuda_sim}/rename.sh ${CMAKE_SOURCE_DIR}/kernels/kernels.h ${cuda_names})

  # The kernels under names of their own, what makes them functions over host memory, and the device.
  file(GLOB cuda_kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.cu)
  add_library(cuda_kernels OBJECT ${cuda_kernels} ${cuda_renamed} ${cuda_sim}/workspace.c ${CMAKE_SOURCE_DIR}/kernels/launches.c ${cuda_device})
  set_target_properties(cuda_kernels PROPERTIES POSITION_INDEPENDENT_CODE ON)
  add_library(ops_kernels_cuda MODULE ${cuda_sim}/module.cpp $<TARGET_OBJECTS:cuda_kernels>)
  set_source_files_properties(${cuda_kernels} PROPERTIES LANGUAGE CXX
                              COMPILE_OPTIONS "-x;c++;-include;${cuda_names}/cuda_rename.h;-DK_ALL_VARIANTS")
  # with more elements than fit an int there, as few as it takes here: the program is right
  add_executable(large_sim ${CMAKE_CURRENT_SOURCE_DIR}/gpu/large.c $<TARGET_OBJECTS:cuda_kernels>)
  set_target_properties(large_sim PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(large_sim PRIVATE m)
  add_dependencies(large_sim cuda_kernels)
  add_dependencies(ops_kernels_cuda cuda_kernels)
  add_test(NAME gpu_large COMMAND large_sim 16)
  foreach(target cuda_kernels ops_kernels_cuda large_sim)
    target_include_directories(${target} PRIVATE ${cuda_names})
  endforeach()
  add_executable(test_cuda_sim ${cuda_sim}/test_sim.cpp ${cuda_device})
  add_test(NAME test_cuda_sim COMMAND test_cuda_sim)
  foreach(target cuda_kernels ops_kernels_cuda large_sim test_cuda_sim)
    # fibers on stacks of their own are not for the address sanitizer
    target_compile_options(${target} PRIVATE -O2 -fopenmp-simd -Wno-unknown-pragmas -Wno-pedantic
                           -fno-sanitize=all $<$<COMPILE_LANGUAGE:CXX>:-std=c++20>)
    target_compile_definitions(${target} PRIVATE REMAT_CUDA_SIM)
    target_include_directories(${target} PRIVATE ${cuda_sim} ${CMAKE_SOURCE_DIR})
  endforeach()
  foreach(target large_sim test_cuda_sim)
    target_link_options(${target} PRIVATE -fno-sanitize=all)
  endforeach()

  # Every access to shared memory is told by -fsanitize=thread, whose functions are banks.cpp's, and unoptimised code has
  # those of the source; clang copies structures by memcpy, of which nobody tells.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(planted ${CMAKE_CURRENT_BINARY_DIR}/planted_banks)
    set(on_tiles attention_mma.cu matmul_packed.cu)
    list(TRANSFORM on_tiles PREPEND ${CMAKE_SOURCE_DIR}/kernels/ OUTPUT_VARIABLE tiled)
    list(TRANSFORM on_tiles PREPEND ${planted}/ OUTPUT_VARIABLE planted_tiled)
    list(APPEND tiled ${CMAKE_SOURCE_DIR}/kernels/attention_mma.cuh)
    set(tiles ${CMAKE_SOURCE_DIR}/kernels/mma_tiles.cuh)
    add_custom_command(OUTPUT ${planted_tiled} ${planted}/mma_tiles.cuh DEPENDS ${tiled} ${tiles} VERBATIM
                       COMMAND sed "s/chunk ^ (row % 8)/chunk/w ${planted}/changed" ${tiles} > ${planted}/mma_tiles.cuh
                       COMMAND test -s ${planted}/changed
                       COMMAND cp ${tiled} ${planted})
    file(MAKE_DIRECTORY ${planted})
    set_source_files_properties(${planted_tiled} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
    foreach(layout swizzled planted)
      set(folder ${CMAKE_SOURCE_DIR}/kernels)
      if(layout STREQUAL "planted")
        set(folder ${planted})
      endif()
      list(TRANSFORM on_tiles PREPEND ${folder}/ OUTPUT_VARIABLE kernels_on_tiles)
      add_library(banks_${layout} OBJECT ${cuda_sim}/test_banks.cpp ${kernels_on_tiles})
      set_target_properties(banks_${layout} PROPERTIES POSITION_INDEPENDENT_CODE ON)
      add_executable(test_banks_${layout} $<TARGET_OBJECTS:banks_${layout}> ${cuda_device})
      set_target_properties(test_banks_${layout} PROPERTIES LINKER_LANGUAGE CXX)
      add_dependencies(test_banks_${layout} banks_${layout})
      add_dependencies(banks_${layout} cuda_kernels) # for the names that their sources are compiled with
      target_compile_definitions(banks_${layout} PRIVATE K_ALL_VARIANTS)
      target_compile_options(banks_${layout} PRIVATE -O0 -fno-sanitize=all -fsanitize=thread)
      target_compile_options(test_banks_${layout} PRIVATE -O2 -fno-sanitize=all)
      target_link_options(test_banks_${layout} PRIVATE -fno-sanitize=all)
      foreach(target banks_${layout} test_banks_${layout})
        target_compile_options(${target} PRIVATE -fopenmp-simd -Wno-unknown-pragmas -Wno-pedantic $<$<COMPILE_LANGUAGE:CXX>:-std=c++20>)
        target_compile_definitions(${target} PRIVATE REMAT_CUDA_SIM)
        target_include_directories(${target} PRIVATE ${cuda_sim} ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/kernels)
      endforeach()
      add_test(NAME test_banks_${layout} COMMAND test_banks_${layout})
    endforeach()
    target_compile_definitions(banks_planted PRIVATE PLANTED=1)
  endif()

  remat_test(test_ops_cuda unit/test_ops.c support/ops_engine.c support/packed.c support/ops_reference.c LIBS OpenMP::OpenMP_C ${CMAKE_DL_LIBS} m)
  add_dependencies(test_ops_cuda ops_kernels_cuda ops_kernels_double)
  target_compile_definitions(test_ops_cuda PRIVATE OPS_CUDA=1 OPS_FLOAT="$<TARGET_FILE:ops_kernels_cuda>"
                             OPS_DOUBLE="$<TARGET_FILE:ops_kernels_double>")

  # ninja attention_campaign: every length, head and mask, in hours
  add_custom_target(attention_campaign COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/campaign/attention.sh $<TARGET_FILE:test_ops_cuda>
                    ${CMAKE_BINARY_DIR}/campaign/attention DEPENDS test_ops_cuda USES_TERMINAL VERBATIM)

  if(TARGET rematc)
    foreach(name train late tune vocabulary documents adapters)
      add_test(NAME cuda_sim_${name} COMMAND sh ${cuda_sim}/${name}.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
               ${CMAKE_BINARY_DIR}/cuda_sim_${name} $<TARGET_FILE_DIR:test_cuda_sim>/emit_copies)
      set_tests_properties(cuda_sim_${name} PROPERTIES TIMEOUT 300
                           ENVIRONMENT "CC=${CMAKE_C_COMPILER};CXX=${CMAKE_CXX_COMPILER}")
    endforeach()
    # ninja bench_launches: what a step of gpt2-124m issues on a GPU, and the bytes it moves
    add_custom_target(bench_launches DEPENDS rematc USES_TERMINAL VERBATIM
                      COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/bench/launches.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                              ${CMAKE_BINARY_DIR}/bench_launches)
    add_test(NAME cuda_launches COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/bench/launches.sh $<TARGET_FILE:rematc>
             ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/cuda_launches)
    set_tests_properties(cuda_launches PROPERTIES TIMEOUT 300
      ENVIRONMENT "CC=${CMAKE_C_COMPILER};CXX=${CMAKE_CXX_COMPILER};REMAT_MOST_LAUNCHES=450;REMAT_MOST_GB=21")
    set_tests_properties(cuda_sim_documents PROPERTIES SKIP_RETURN_CODE 77) # without python3
  endif()
endif()

find_program(REMAT_NVCC nvcc PATHS /usr/local/cuda/bin)
if(REMAT_NVCC AND TARGET rematc)
  add_test(NAME cuda_programs COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/gpu/compile.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/cuda_programs)
  set_tests_properties(cuda_programs PROPERTIES TIMEOUT 600 ENVIRONMENT "NVCC=${REMAT_NVCC}")
endif()

# The scripts for a machine with a GPU, gone through without one.
if(TARGET rematc)
  add_test(NAME gpu_scripts COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/gpu/dry.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
           ${CMAKE_BINARY_DIR}/gpu_scripts)
  set_tests_properties(gpu_scripts PROPERTIES TIMEOUT ${test_timeout})
endif()
