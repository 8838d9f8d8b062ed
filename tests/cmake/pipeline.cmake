# The compiler and the programs it emits, from the command line.
set(pipeline_tests "")
foreach(name same_numbers adapters adapters_shared packed_weights accumulate adamw8bit early resume bad_input names reports tiles
             tune fold endings data documents explain import packed sample published_runs threads)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name})
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT ${test_timeout})
  list(APPEND pipeline_tests pipeline_${name})
endforeach()
set_tests_properties(pipeline_data pipeline_packed PROPERTIES SKIP_RETURN_CODE 77)
# From published weights, which a helper makes of a checkpoint.
add_executable(publish support/publish.c)
target_include_directories(publish PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(publish PRIVATE remat_runtime)
foreach(name weights export saved_nf4)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name} $<TARGET_FILE:publish>)
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT ${test_timeout})
  list(APPEND pipeline_tests pipeline_${name})
endforeach()
# What may include what: the table of rooms in docs/design.md.
add_test(NAME pipeline_includes COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/includes.sh ${CMAKE_SOURCE_DIR}
         ${CMAKE_BINARY_DIR}/pipeline/includes)
set_tests_properties(pipeline_includes PROPERTIES TIMEOUT ${test_timeout})
add_test(NAME pipeline_effort COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/effort.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/effort)
set_tests_properties(pipeline_effort PROPERTIES TIMEOUT ${test_timeout})
# Messages and answers in JSON, read by a parser that is not the compiler's.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
add_executable(json_valid support/json_valid.c)
target_link_libraries(json_valid PRIVATE PkgConfig::JANSSON)
add_executable(on_terminal support/on_terminal.c)
foreach(name command_line output answers)
  add_test(NAME pipeline_${name} COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/${name}.sh $<TARGET_FILE:rematc>
           ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/${name} $<TARGET_FILE:json_valid>
           $<TARGET_FILE:on_terminal>)
  set_tests_properties(pipeline_${name} PROPERTIES TIMEOUT ${test_timeout})
  list(APPEND pipeline_tests pipeline_${name})
endforeach()
# The page of `report`, read beside the plan that it is of.
add_executable(report_page support/report_page.c)
target_include_directories(report_page PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(report_page PRIVATE remat_ir PkgConfig::JANSSON)
add_test(NAME pipeline_report COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/report.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/report $<TARGET_FILE:report_page>)
set_tests_properties(pipeline_report PROPERTIES TIMEOUT ${test_timeout})
list(APPEND pipeline_tests pipeline_report)
# What is installed, and what shells offer; each says what it left out for want of a program.
add_test(NAME pipeline_install COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/install.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/install ${CMAKE_BINARY_DIR} ${CMAKE_COMMAND}
         $<TARGET_FILE:json_valid>)
add_test(NAME pipeline_completion COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/completion.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/completion)
set_tests_properties(pipeline_install pipeline_completion PROPERTIES TIMEOUT ${test_timeout})
list(APPEND pipeline_tests pipeline_install pipeline_completion)
# Copies to host memory, in plans that are given them.
add_executable(emit_copies support/emit_copies.c support/copies.c)
target_include_directories(emit_copies PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(emit_copies PRIVATE remat_driver)
add_test(NAME pipeline_copies COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/pipeline/copies.sh $<TARGET_FILE:rematc>
         ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/pipeline/copies $<TARGET_FILE:emit_copies>)
set_tests_properties(pipeline_copies PROPERTIES TIMEOUT ${test_timeout})
list(APPEND pipeline_tests pipeline_copies)
if(REMAT_SANITIZE)
  set_tests_properties(${pipeline_tests} PROPERTIES
    ENVIRONMENT "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all;LDFLAGS=-fsanitize=address,undefined")
endif()
# ninja bench_sample: seconds for a token of a sample
add_custom_target(bench_sample DEPENDS rematc USES_TERMINAL VERBATIM
                  COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/bench/sample.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                          ${CMAKE_BINARY_DIR}/bench_sample)
remat_test(test_command unit/test_command.c LIBS remat_driver TIMEOUT 60)
target_compile_definitions(test_command PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}")
remat_test(test_tilings unit/test_tilings.c LIBS remat_driver TIMEOUT 60)
target_compile_definitions(test_tilings PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}")
